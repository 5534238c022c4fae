"""RAUC's D-Bus side for a device without slots to write: a real installation mounts the bundle, for which a container
has no right. The signature is checked by genuine `rauc info` against the device's keyring, the rest is remembered."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time

from jeepney import DBusAddress, HeaderFields, MessageType, new_error, new_method_return, new_signal
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

NAME = "de.pengutronix.rauc"
INSTALLER = "de.pengutronix.rauc.Installer"
SYSTEM = pathlib.Path(os.environ["IOT_SYSTEM"])
KEYRING = os.environ["IOT_DEVICE_UPDATE_KEYRING"]
HERE = DBusAddress("/", interface=INSTALLER)
PROPERTIES = DBusAddress("/", interface="org.freedesktop.DBus.Properties")


class Installer:
    def __init__(self, bus):
        self.bus = bus
        self.lock = threading.Lock()
        self.operation, self.error, self.progress = "idle", "", (0, "", 0)

    def properties(self):
        return {
            "Operation": ("s", self.operation),
            "LastError": ("s", self.error),
            "Progress": ("(isi)", self.progress),
            "Compatible": ("s", "iot-bridge-demo"),
            "Variant": ("s", ""),
            "BootSlot": ("s", slots()["booted"]),
        }

    def send(self, message):
        with self.lock:
            self.bus.send(message)

    def tell(self, operation=None, progress=None, error=None):
        self.operation = operation or self.operation
        self.progress = progress or self.progress
        self.error = self.error if error is None else error
        changed = (INSTALLER, self.properties(), [])
        self.send(new_signal(PROPERTIES, "PropertiesChanged", "sa{sv}as", changed))

    def install(self, bundle):
        remember("ota", "installing")
        self.tell("installing", (0, "Installing", 0), "")
        try:
            version = checked_version(bundle)
            self.tell(progress=(60, "Copying image to the other slot", 1))
            now = slots()
            other = "B" if now["booted"] == "A" else "A"
            now["booted"], now[f"version_{other}"] = other, version
            remember("slots", "\n".join(f"{key}={value}" for key, value in now.items()))
            remember("ota", "installed")
            result = 0
        except (subprocess.CalledProcessError, ValueError, OSError) as failure:
            reason = getattr(failure, "stderr", "") or str(failure)
            remember("ota", "failed")
            self.tell(error=reason.strip()[-500:])
            result = 1
        self.tell("idle", (100, "Installing done." if result == 0 else "Installing failed.", 0))
        self.send(new_signal(HERE, "Completed", "i", (result,)))
        if result == 0:
            # After the updater has told hawkBit.
            threading.Timer(float(os.environ.get("IOT_DEVICE_REBOOT_SECONDS", "5")), remember, ("reboot", str(time.time_ns()))).start()


def checked_version(bundle):
    """The version of a bundle whose signature the keyring believes."""
    information = subprocess.run(
        ["rauc", f"--keyring={KEYRING}", "info", "--output-format=shell", bundle],
        check=True, capture_output=True, text=True,
    ).stdout
    version = re.search(r"^RAUC_MF_VERSION='?([0-9A-Za-z.+-]{1,64})'?$", information, re.MULTILINE)
    compatible = re.search(r"^RAUC_MF_COMPATIBLE='?iot-bridge-demo'?$", information, re.MULTILINE)
    if not version or not compatible:
        raise ValueError("the bundle is for another device")
    return version.group(1)


def slots():
    return dict(line.split("=", 1) for line in (SYSTEM / "slots").read_text().split())


def remember(name, text):
    with tempfile.NamedTemporaryFile("w", dir=SYSTEM, delete=False) as new:
        new.write(text + "\n")
    shutil.move(new.name, SYSTEM / name)


def answer(installer, message):
    fields = message.header.fields
    interface, member = fields.get(HeaderFields.interface), fields.get(HeaderFields.member)
    if (interface, member) == ("org.freedesktop.DBus.Properties", "GetAll"):
        return new_method_return(message, "a{sv}", (installer.properties(),))
    if (interface, member) == ("org.freedesktop.DBus.Properties", "Get"):
        return new_method_return(message, "v", (installer.properties()[message.body[1]],))
    if (interface, member) == (INSTALLER, "GetSlotStatus"):
        return new_method_return(message, "a(sa{sv})", ([],))
    if interface == INSTALLER and member in ("InstallBundle", "Install"):
        threading.Thread(target=installer.install, args=(message.body[0],), daemon=True).start()
        return new_method_return(message)
    return new_error(message, "org.freedesktop.DBus.Error.UnknownMethod")


def main():
    bus = open_dbus_connection("SESSION")
    bus.send_and_get_reply(message_bus.RequestName(NAME))
    installer = Installer(bus)
    while True:
        message = bus.receive()
        if message.header.message_type is MessageType.method_call:
            installer.send(answer(installer, message))


main()
