//! Builds the web page in `web/` and writes `assets.rs`, the table of its files that the proxy serves.
//!
//! The page is built in a copy below `OUT_DIR`: the source tree stays clean, and need not be writable.

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the page is made from. Everything else in `web/` was made by tools.
const SOURCES: [&str; 7] = [
    ".npmrc",
    "index.html",
    "package-lock.json",
    "package.json",
    "src",
    "tsconfig.json",
    "vite.config.ts",
];
const INSTALL: &str = "ci --omit=dev --ignore-scripts --no-audit --no-fund --prefer-offline";
const NO_NODE: &str = "the web page needs Node.js 20.19 or newer with npm: install it, build again";

fn main() -> Result<(), Box<dyn Error>> {
    #[expect(clippy::disallowed_methods, reason = "so cargo says where to write")]
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    build(Path::new("web"), Path::new(&out)).inspect_err(|error| println!("cargo::error={error}"))
}

fn build(web: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed=web/{source}");
        list(&web.join(source), &mut files)?;
    }
    let hash = hash_of(&files)?;
    let stamp = out.join("assets.hash");
    if fs::read_to_string(&stamp).is_ok_and(|built| built == hash) {
        return Ok(());
    }
    let copy = out.join("web");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    for file in &files {
        let target = out.join(file);
        fs::create_dir_all(target.parent().expect("a file has a folder"))?;
        fs::write(target, fs::read(file)?)?;
    }
    npm(&copy, INSTALL)?;
    npm(&copy, "run build")?;
    fs::write(out.join("assets.rs"), table(&copy.join("dist"))?)?;
    Ok(fs::write(stamp, hash)?)
}

/// Lists the files at and below `path`, in a stable order.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_file() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| list(entry, files))
}

fn hash_of(files: &[PathBuf]) -> io::Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        (file, fs::read(file)?).hash(&mut hasher);
    }
    Ok(hasher.finish().to_string())
}

fn npm(folder: &Path, arguments: &str) -> Result<(), Box<dyn Error>> {
    let status = Command::new("npm")
        .args(arguments.split(' '))
        .current_dir(folder)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("`npm {arguments}` failed for the web page, see its output").into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(NO_NODE.into()),
        Err(error) => Err(format!("npm does not start: {error}").into()),
    }
}

fn table(dist: &Path) -> Result<String, Box<dyn Error>> {
    let mut files = Vec::new();
    list(dist, &mut files)?;
    let rows = files
        .iter()
        .map(|file| row(dist, file))
        .collect::<Result<String, _>>()?;
    Ok(format!("pub(crate) static ASSETS: &[Asset] = &[\n{rows}];\n"))
}

fn row(dist: &Path, file: &Path) -> Result<String, Box<dyn Error>> {
    let path = file.strip_prefix(dist)?.display().to_string();
    let content_type = match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => return Err(format!("no content type is known for {path}").into()),
    };
    // Vite puts a hash of the content into the name of everything below `assets/`.
    let immutable = path.starts_with("assets/");
    Ok(format!(
        "Asset {{ path: {path:?}, content_type: {content_type:?}, immutable: {immutable}, \
         bytes: include_bytes!({:?}) }},\n",
        file.display().to_string()
    ))
}
