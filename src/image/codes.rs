// SPDX-License-Identifier: MIT OR Apache-2.0

//! The codes of what can be wrong with an image.

// Of this crate: rustc reports no unused constant that another crate's macro declares.
macro_rules! constant {
    ($(#[$doc:meta])+ $name:ident = $code:expr) => {
        $(#[$doc])+
        pub(crate) const $name: crate::code::Code = $code;
    };
}

crate::codes! {
    constant;

    Source {
        /// `track.image` or an argument does not name an image, names one of a kind that the
        /// command does not take, or contains a user or a password.
        ///
        /// Write `HOST/REPOSITORY:TAG`, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`, whichever the
        /// command takes. Put a password into an auth file.
        pub REFERENCE_INVALID: Error = "reference-invalid";
    }

    Image {
        /// An index lists no image for this machine, or more than one.
        ///
        /// Publish exactly one image for each architecture.
        ARCHITECTURE_MISSING: Error = "architecture-missing";
        /// A chunk does not have the hash that the config gives for it, even after it was fetched
        /// again.
        ///
        /// Push or build the image again. Check the registry's storage and any proxy.
        pub CHUNK_DAMAGED: Error = "chunk-damaged";
        /// A chunk size is outside the limits.
        ///
        /// Build the image with another `--chunk-size`.
        CHUNK_SIZE_INVALID: Error = "chunk-size-invalid";
        /// The text is not a SHA-256 digest.
        ///
        /// Correct it. A digest is `sha256:` and 64 hex digits.
        DIGEST_MALFORMED: Error = "digest-malformed";
        /// A manifest or config does not have the digest by which it was requested, or a blob does
        /// not have the size that its descriptor gives.
        ///
        /// Push or copy the image again. Check the registry's storage and any proxy.
        pub DIGEST_MISMATCH: Error = "digest-mismatch";
        /// The image has a later format version.
        ///
        /// Update flipside first.
        FORMAT_VERSION_UNKNOWN: Error = "format-version-unknown";
        /// A manifest, index or config is not valid JSON of its kind. Or parts of the image
        /// contradict each other. Or a product name or version is not at most 128 printable
        /// characters.
        ///
        /// Build the image again.
        IMAGE_MALFORMED: Error = "image-malformed";
        /// A manifest or config is larger than its limit. The limit of a manifest is 4 MiB. The
        /// limit of a config is 16 MiB on hosts and for `image build`.
        ///
        /// Build the image with larger chunks (`--chunk-size`).
        IMAGE_OVER_LIMIT: Error = "image-over-limit";
        /// The reference names a container image, a Helm chart or something else that is not an OS
        /// image.
        ///
        /// Check `track.image`. `flipside image build` makes OS images.
        NOT_AN_OS_IMAGE: Error = "not-an-os-image";
        /// `system` or `kernel.efi` is empty, `system` contains only zeroes, or a payload that
        /// `host.payloads` maps is empty. Nothing was changed.
        ///
        /// Build the image from the right file.
        pub PAYLOAD_EMPTY: Block | Error = "payload-empty";
        /// The name of a payload does not match the pattern.
        ///
        /// Build the image with another name.
        PAYLOAD_NAME_INVALID: Error = "payload-name-invalid";
        /// The image is for another architecture than this machine's.
        ///
        /// Publish an image for this architecture, or an index.
        WRONG_ARCHITECTURE: Error = "wrong-architecture";
    }

    Decision {
        /// The policy document is not JSON, has a later format, is too large, or contains values
        /// that make no sense.
        ///
        /// Its publisher has to run `flipside policy lint` and push a corrected document.
        pub POLICY_DOCUMENT_INVALID: Defer | Error = "policy-document-invalid";
    }

    Disk {
        /// An image gives a partition a nil UUID, a nil type, or a type that belongs to a boot
        /// loader, such as the type of an EFI system partition.
        ///
        /// Build the image with another `--partition`.
        pub PARTITION_IDENTITY_INVALID: Block | Error = "partition-identity-invalid";
        /// An image gives a partition a UUID that another payload, the other slot or any other
        /// partition on this host's disks has. Or a disk that is being built would have one GUID
        /// twice.
        ///
        /// Build the image with another UUID, or the disk with another `--seed`. Otherwise change
        /// the UUID of the other partition, or remove the disk that the message names.
        pub PARTITION_UUID_DUPLICATE: Block | Error = "partition-uuid-duplicate";
    }
}
