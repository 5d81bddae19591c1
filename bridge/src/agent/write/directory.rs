//! Files into directories that an agent may read at any moment.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hawser_volume::{Error, Result};
use tempfile::NamedTempFile;

use super::Output;

/// What files may be read by: secrets are not in them, and an agent that does not run as root has to read them.
const MODE: u32 = 0o644;

/// Writes `outputs`, and returns those that were not there before as they are now.
pub(super) fn write(outputs: &[Output], base: &Path, force: bool) -> Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    let mut different = Vec::new();
    for output in outputs {
        match fs::read(&output.path) {
            Ok(there) if there == output.text.as_bytes() => {}
            Ok(_) if force => missing.push(output),
            Ok(_) => different.push(output.path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing.push(output),
            Err(error) => return Err(failed("read", &output.path)(error)),
        }
    }
    if !different.is_empty() {
        return Err(Error::already_exists(format!(
            "{} is there and says something else; nothing was written; move it away, or give --force to replace it",
            different.join(", ")
        )));
    }
    for output in &missing {
        one(output, base, force)?;
    }
    Ok(missing.into_iter().map(|output| output.path.clone()).collect())
}

fn one(output: &Output, base: &Path, force: bool) -> Result<()> {
    let parent = output.path.parent().unwrap_or(base);
    fs::create_dir_all(parent).map_err(failed("make the directory of", &output.path))?;
    // An agent reads every file of its directories, whatever its name (csi_server.cpp), so what is not finished stays beside them.
    let workshop = if parent.starts_with(base) { base } else { parent };
    let wrong = failed("write", &output.path);
    let mut file = NamedTempFile::with_prefix_in(".hawser-", workshop).map_err(&wrong)?;
    file.write_all(output.text.as_bytes()).map_err(&wrong)?;
    fs::set_permissions(file.path(), Permissions::from_mode(MODE)).map_err(&wrong)?;
    file.as_file().sync_all().map_err(&wrong)?;
    // Without `force` also against somebody who made the file since it was looked for.
    let kept = if force { file.persist(&output.path) } else { file.persist_noclobber(&output.path) };
    kept.map_err(|error| wrong(error.error))?;
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(&wrong)
}

fn failed(what: &str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let doing = format!("{what} {}", path.display());
    move |error| Error::invalid(doing.clone()).caused_by(error)
}
