// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a script cannot be run whose interpreter is missing: the kernel says only that there is no
//! such file, which the script itself is.

use std::io::Read as _;
use std::path::Path;

use flipside_core::host::open::open_to_read;

/// The kernel reads no more of a script (`BINPRM_BUF_SIZE` of `<linux/binfmts.h>`).
const LINE_LIMIT: u64 = 256;

/// What is wrong with the first line of the script at `path`, to stand behind "cannot be run: ";
/// `None` where it is in order, or no script's.
pub(super) fn problem(path: &Path) -> Option<String> {
    let mut begin = Vec::new();
    open_to_read(path).ok()?.take(LINE_LIMIT).read_to_end(&mut begin).ok()?;
    let line = begin.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let line = line.trim_matches([' ', '\t']);
    if line.ends_with('\r') {
        return Some(format!(
            "its interpreter {line:?} does not exist, because its lines end as on Windows; \
             `sed -i 's/\\r$//'` mends that"
        ));
    }
    let interpreter = line.split([' ', '\t']).next().filter(|path| !path.is_empty())?;
    (!Path::new(interpreter).exists())
        .then(|| format!("its interpreter {interpreter:?} does not exist"))
}
