// SPDX-License-Identifier: MIT OR Apache-2.0

//! The codes of what can go wrong while images, disks and policy documents are made.

pub(crate) use flipside_core::codes::shared::{
    ARCHITECTURE_UNKNOWN, BOOT_FILE_INVALID, IO_FAILED, PAYLOAD_MISSING, READ_BACK_MISMATCH,
    SLOT_TOO_SMALL, STOPPED, TARGET_IN_USE,
};
pub(crate) use flipside_image::codes::shared::PARTITION_UUID_DUPLICATE;
pub(crate) use flipside_source::codes::shared::LAYOUT_INVALID;

// Of this crate: rustc reports no unused constant that another crate's macro declares.
macro_rules! constant {
    ($(#[$doc:meta])+ $name:ident = $code:expr) => {
        $(#[$doc])+
        pub(crate) const $name: flipside_image::code::Code = $code;
    };
}

flipside_image::codes! {
    constant;

    Publish {
        /// An option or an argument cannot be used, such as a size, a label, a sector size, an
        /// output, or the name or file of a payload. Or the options together describe no image that
        /// can be built.
        ///
        /// Correct what the message names.
        pub ARGUMENT_INVALID: Error = "argument-invalid";
        /// A delta between two images would save hosts too little: they would still fetch more than 60 %
        /// of the new image. Nothing is published.
        ///
        /// Make a delta from a version that has more in common with the new one.
        DELTA_TOO_LARGE: Error = "delta-too-large";
        /// The partitions need more room than the device has.
        ///
        /// Use smaller partitions or a larger device.
        DISK_TOO_SMALL: Error = "disk-too-small";
        /// The ESP has no room for the loader and two boot files.
        ///
        /// Give a larger `--esp-size`.
        ESP_TOO_SMALL: Error = "esp-too-small";
        /// The boot loader is not an EFI program for the image's architecture.
        ///
        /// Name the right one.
        LOADER_INVALID: Error = "loader-invalid";
        /// The boot loader cannot be read.
        ///
        /// Install `systemd-boot-efi`, or name another loader.
        LOADER_MISSING: Error = "loader-missing";
        /// The output file exists and is not flipside's to replace, or the output device is not
        /// empty.
        ///
        /// Remove it, or use `--force` if the command has that option.
        OUTPUT_EXISTS: Error = "output-exists";
        /// A payload was written to while it was read.
        ///
        /// Build again when nothing writes to the file.
        PAYLOAD_CHANGED: Error = "payload-changed";
        /// `policy build` or `policy push` was asked for a document that hosts would not obey. A
        /// version is not listed, an image has another version, the document is not later than the
        /// published one, or there is no tag to put it beside.
        ///
        /// Correct what the message names. `flipside policy build --from FILE` dates a document
        /// anew.
        POLICY_CHANGE_INVALID: Error = "policy-change-invalid";
        /// The os-release file or the product-info file does not say what an image needs.
        ///
        /// Add what the message names, or use `--product-info`.
        PRODUCT_INFO_INVALID: Error = "product-info-invalid";
        /// Something cannot be signed: an archive, or a layout whose repository was not given. Or
        /// something else is stored where signatures go.
        ///
        /// See the reason in the message.
        SIGNING_FAILED: Error = "signing-failed";
        /// The file that `--key` names is not a private key that can be used.
        ///
        /// Use an unencrypted ECDSA P-256 or Ed25519 key in PEM. `flipside image key` makes one.
        SIGNING_KEY_UNUSABLE: Error = "signing-key-unusable";
        /// A program that images are made with is not installed, or has failed.
        ///
        /// Install the package that the message names, or see what the program says.
        pub TOOL_FAILED: Error = "tool-failed";
        /// A container image or a root file system cannot become an OS image: it has no kernel, no
        /// systemd or no os-release, an archive is damaged, or a file in it is one that no image may
        /// have.
        ///
        /// Correct what the message names, in the Containerfile or in the directory.
        TREE_UNUSABLE: Error = "tree-unusable";
    }
}
