// SPDX-License-Identifier: MIT OR Apache-2.0

//! The codes of what can be wrong with a source.

pub(crate) use flipside_core::codes::shared::{RESOURCES_EXHAUSTED, STOPPED};
pub(crate) use flipside_image::codes::shared::DIGEST_MISMATCH;

// Of this crate: rustc reports no unused constant that another crate's macro declares.
macro_rules! constant {
    ($(#[$doc:meta])+ $name:ident = $code:expr) => {
        $(#[$doc])+
        pub(crate) const $name: flipside_image::code::Code = $code;
    };
}

flipside_image::codes! {
    constant;

    Source {
        /// A manifest, config or payload that a tag, an index or an image lists does not exist.
        ///
        /// Push the image again. Check whether the registry's garbage collection removed it.
        BLOB_NOT_FOUND: Error = "blob-not-found";
        /// The credential helper that the login file names failed.
        ///
        /// Run `docker-credential-NAME get` by hand, as root.
        CREDENTIAL_HELPER_FAILED: Error = "credential-helper-failed";
        /// A login file exists but cannot be read.
        ///
        /// Check its mode and its JSON.
        CREDENTIALS_UNREADABLE: Error = "credentials-unreadable";
        /// Fetching the payloads of an image took longer than `track.time_limit`.
        ///
        /// Do nothing if the next runs make progress: they continue from there. Otherwise raise
        /// `track.time_limit`, or use a mirror (`track.mirrors`).
        FETCH_TIME_LIMIT: Error = "fetch-time-limit";
        /// The server in `track.graph` answers with something that is not an update graph.
        ///
        /// Check the address. Open it with `curl`.
        GRAPH_MALFORMED: Error = "graph-malformed";
        /// The server in `track.graph` gives no graph. The message has the status, and the kind and
        /// value of its error.
        ///
        /// Check the address, and the tag, which is the requested stream.
        GRAPH_REFUSED: Error = "graph-refused";
        /// The server in `track.graph` is down, or answers with a status that may be temporary.
        ///
        /// Do nothing if it comes back. The timer tries again:
        /// [reliability.md](reliability.md#when-a-registry-is-down).
        GRAPH_UNREACHABLE: Defer = "graph-unreachable";
        /// A directory is not an OCI layout of version 1. Or a file is not an OCI archive: it is
        /// not a tar file, or contains no layout.
        ///
        /// Look for `oci-layout` and `index.json` in it. Or make it again, for example with
        /// `skopeo copy ... oci-archive:FILE`.
        pub LAYOUT_INVALID: Error = "layout-invalid";
        /// A registry, or a redirect, requires plain HTTP.
        ///
        /// Give the registry TLS, or list it in `track.plain_http`. For one
        /// command, `--plain-http` does.
        PLAIN_HTTP_REFUSED: Error = "plain-http-refused";
        /// A redirect cannot be followed, or redirects do not end.
        ///
        /// Check the proxy in front of the registry.
        REDIRECT_INVALID: Error = "redirect-invalid";
        /// The registry answered with a failure, also after several tries. Or something else
        /// answered in its place, such as the login page of a network.
        ///
        /// Check the registry's own log, and the network between. The timer tries again if the failure may be temporary:
        /// [reliability.md](reliability.md#when-a-registry-is-down).
        REGISTRY_ERROR: Error = "registry-error";
        /// The registry accepts the credentials, but they do not give access.
        ///
        /// Allow that user to pull from the repository.
        REGISTRY_FORBIDDEN: Error = "registry-forbidden";
        /// The registry received too many requests, also after waiting. Or the timer's run comes
        /// before the time at which the registry wants to be asked again.
        ///
        /// Wait, log in, or use a mirror (`track.mirrors`). `flipside update` does not wait.
        pub REGISTRY_RATE_LIMITED: Defer | Error = "registry-rate-limited";
        /// Credentials are missing or were refused.
        ///
        /// Put them where `track.auth_file` or `--auth-file` says.
        REGISTRY_UNAUTHORIZED: Error = "registry-unauthorized";
        /// The registry's name has no address.
        ///
        /// Check the name and this host's DNS.
        REGISTRY_UNKNOWN_HOST: Error = "registry-unknown-host";
        /// The registry does not answer, or stopped answering. As a `defer`: only a mirror answers,
        /// and the version that it names is not above the one that runs or is armed
        /// ([policy.md](policy.md#mirrors)).
        ///
        /// Check the network, the firewall and the registry. If this host can reach only a mirror,
        /// let it track the mirror. The timer tries again:
        /// [reliability.md](reliability.md#when-a-registry-is-down).
        pub REGISTRY_UNREACHABLE: Defer | Error = "registry-unreachable";
        /// One image has more signatures than flipside reads in one place, and none of the first
        /// ones is valid. The limits are 64 payloads of simple signing, 64 bundles that name a key
        /// of this host but are not made with it, and 512 manifests of bundles.
        ///
        /// Remove signatures that nobody needs.
        SIGNATURES_OVER_LIMIT: Error = "signatures-over-limit";
        /// A file of an OCI layout or archive cannot be read.
        ///
        /// Check its path, owner and mode.
        SOURCE_UNREADABLE: Error = "source-unreadable";
        /// A layout contains several images, and no tag was given.
        ///
        /// Name one: `oci:DIR:TAG`.
        TAG_AMBIGUOUS: Error = "tag-ambiguous";
        /// The tag, or the whole repository, does not exist.
        ///
        /// Check `track.image`. Push the tag.
        TAG_NOT_FOUND: Error = "tag-not-found";
        /// The registry's certificate has expired.
        ///
        /// Renew it. Check this host's clock.
        TLS_CERTIFICATE_EXPIRED: Error = "tls-certificate-expired";
        /// The registry's certificate is not valid yet.
        ///
        /// Check this host's clock.
        TLS_CERTIFICATE_NOT_YET_VALID: Error = "tls-certificate-not-yet-valid";
        /// TLS failed for another reason. The registry may require a client certificate.
        ///
        /// See the reason in the message. Set `track.client_cert` and `track.client_key`,
        /// or give `--client-cert` and `--client-key`.
        TLS_FAILED: Error = "tls-failed";
        /// A PEM file that a setting or an option names cannot be used.
        ///
        /// Check the file that the message names.
        TLS_FILE_UNUSABLE: Error = "tls-file-unusable";
        /// This host has no certificate authorities at all.
        ///
        /// Install `ca-certificates`, or set `track.ca` or `--ca`.
        TLS_NO_AUTHORITIES: Error = "tls-no-authorities";
        /// The registry's certificate comes from an authority that this host does not trust.
        ///
        /// If the authority is yours, add it to `track.ca` or `--ca`.
        TLS_UNTRUSTED: Error = "tls-untrusted";
        /// The registry's certificate is for another name.
        ///
        /// Use the name that it is for, or get another certificate.
        TLS_WRONG_NAME: Error = "tls-wrong-name";
        /// The registry names a token service on another host. That service may not have the
        /// credentials for the registry.
        ///
        /// Find out whether the token service belongs to the registry. If it does, list it in
        /// `track.token_realms` or with `--token-realm`. Without credentials for that registry, flipside asks it
        /// anonymously.
        TOKEN_REALM_REFUSED: Error = "token-realm-refused";
        /// A transfer broke off again and again before its end.
        ///
        /// Check the proxy in front of the registry. The next run continues from there.
        TRANSFER_TRUNCATED: Error = "transfer-truncated";
    }
}
