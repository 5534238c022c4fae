//! A device with the genuine rauc-hawkbit-updater and the genuine RAUC: two slots in files, a keyring, a session bus.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use super::step_ca::printed;
use crate::failure::{Failure, ensure};
use crate::stage::Stage;

/// The other slot than the one that runs.
const TARGET_SLOT: &str = "slot-b.img";

/// Runs in a mount namespace of its own; our folder is `/mnt` in there.
const INSIDE: &str = r#"
mount --make-rprivate /
mount -t proc proc "$0/proc"
mount --bind /dev "$0/dev"
mount -t tmpfs tmpfs "$0/var/tmp"
mount --bind "$1" "$0/mnt"
exec chroot "$0" sh -euc "cd /mnt; $2"
"#;

/// Slots in files and no boot loader; everything else is as on a device.
const SYSTEM: &str = "[system]
compatible=iot-bridge-lab
bootloader=noop
bundle-formats=plain
mountprefix=/mnt/mounted
statusfile=/mnt/status

[keyring]
path=/mnt/ota.pem

[slot.rootfs.0]
device=/mnt/slot-a.img
type=raw
bootname=A

[slot.rootfs.1]
device=/mnt/slot-b.img
type=raw
bootname=B
";

/// The key pair of whoever makes updates, and one that no device trusts.
const PREPARE: &str = r"
for who in ota stranger; do
  openssl req -x509 -newkey rsa:2048 -nodes -keyout $who.key -out $who.pem -subj /CN=$who -days 2 2>/dev/null
done
truncate -s 64M slot-a.img slot-b.img
mkdir mounted";

/// Looks for an update once; RAUC serves meanwhile on a bus of its own.
const LOOK: &str = r"
timeout 300 dbus-run-session -- sh -euc '
  export DBUS_STARTER_BUS_TYPE=session
  rauc service --conf=/mnt/system.conf --override-boot-slot=A &
  until rauc --conf=/mnt/system.conf status >/dev/null 2>&1; do sleep 0.1; done
  rauc-hawkbit-updater -r -c /mnt/rauc-hawkbit-updater.conf'";

/// A device that can be updated.
#[derive(Debug)]
pub(crate) struct Updater {
    root: PathBuf,
    folder: TempDir,
}

impl Updater {
    /// Who signed a bundle that the device takes.
    pub(crate) const TRUSTED: &str = "ota";
    /// Who signed one that it does not take.
    pub(crate) const STRANGER: &str = "stranger";

    pub(crate) async fn new(stage: &Stage) -> Result<Self, Failure> {
        let updater = Self {
            root: stage.installed("updater")?,
            folder: tempfile::tempdir()?,
        };
        fs::write(updater.folder.path().join("system.conf"), SYSTEM)?;
        updater.inside(PREPARE).await?;
        Ok(updater)
    }

    /// Makes a bundle with an image; returns it.
    pub(crate) async fn bundle(&self, name: &str, signer: &str, image: &[u8]) -> Result<Vec<u8>, Failure> {
        let content = self.folder.path().join(name);
        fs::create_dir(&content)?;
        fs::write(content.join("rootfs.img"), image)?;
        let manifest = "[update]\ncompatible=iot-bridge-lab\nversion=1\n\n[bundle]\nformat=plain\n\n\
                        [image.rootfs]\nfilename=rootfs.img\n";
        fs::write(content.join("manifest.raucm"), manifest)?;
        let script = format!("rauc bundle --cert={signer}.pem --key={signer}.key {name} {name}.raucb");
        self.inside(&script).await?;
        Ok(fs::read(self.folder.path().join(format!("{name}.raucb")))?)
    }

    /// Lets the updater look once, with the file that our agent wrote; returns what both programs said.
    pub(crate) async fn look(&self, settings: &Path) -> Result<String, Failure> {
        fs::copy(settings, self.folder.path().join("rauc-hawkbit-updater.conf"))?;
        let told = format!("{{ {LOOK}\n}} >said 2>&1 || {{ cat said >&2; exit 1; }}; cat said");
        self.inside(&told).await
    }

    /// Whether the image stands in the slot that was updated.
    pub(crate) fn has_installed(&self, image: &[u8]) -> Result<(), Failure> {
        let slot = fs::read(self.folder.path().join(TARGET_SLOT))?;
        ensure(slot.starts_with(image), "the image is not in the slot")
    }

    async fn inside(&self, script: &str) -> Result<String, Failure> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", INSIDE]);
        command.arg(&self.root).arg(self.folder.path()).arg(script);
        printed(command).await
    }
}
