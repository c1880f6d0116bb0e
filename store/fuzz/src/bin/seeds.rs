//! Writes the inputs to begin with to `corpus/<target>/<name>`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    for (target, name, input) in bygone_store_fuzz::seeds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), input)?;
    }
    Ok(())
}
