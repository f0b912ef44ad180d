"""The clocks of the GPU while the commands run."""

import glob
import os
import shutil
import subprocess
import threading
from pathlib import Path


class Clocks(threading.Thread):
    """Reads the clocks of the GPU every second: with nvidia-smi, or where Linux shows them."""

    FIELDS = "pci.bus_id,clocks.sm,clocks.mem,power.draw,temperature.gpu"
    # AMD's driver, then both of Intel's: the file and how many of it are a MHz, W or °C.
    FILES = [
        ("core_mhz", "device/hwmon/hwmon*/freq1_input", 1e6),
        ("memory_mhz", "device/hwmon/hwmon*/freq2_input", 1e6),
        ("watts", "device/hwmon/hwmon*/power1_average", 1e6),
        ("celsius", "device/hwmon/hwmon*/temp1_input", 1e3),
        ("core_mhz", "gt_act_freq_mhz", 1),
        ("core_mhz", "device/tile0/gt0/freq0/act_freq", 1),
    ]

    def __init__(self, steps, found, pci):
        super().__init__(daemon=True)
        self.steps, self.found, self.pci = steps, found, pci
        self.ended = threading.Event()
        self.process = None

    def run(self):
        smi = shutil.which("nvidia-smi")
        try:
            if smi and self.begin(smi):
                for line in self.process.stdout:
                    self.see(line)
                return
        except (OSError, subprocess.SubprocessError):
            pass
        while not self.ended.wait(1.0):
            self.look()

    def begin(self, smi):
        names = "name,driver_version,clocks.max.sm,clocks.max.mem,power.limit"
        query = [smi, f"--query-gpu={names}", "--format=csv,noheader"]
        asked = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)
        if asked.returncode != 0 or self.ended.is_set():
            return False
        self.found["source"] = "nvidia-smi"
        self.found["cards"] = asked.stdout.decode(errors="replace").splitlines()
        loop = [smi, f"--query-gpu={self.FIELDS}", "--format=csv,noheader,nounits", "--loop=1"]
        self.process = subprocess.Popen(
            loop, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        return True

    def see(self, line):
        words = [word.strip() for word in line.split(",")]
        if len(words) != 5 or (self.pci and not words[0].lower().endswith(self.pci.lower())):
            return
        self.add(dict(zip(("core_mhz", "memory_mhz", "watts", "celsius"), map(number, words[1:]))))

    def look(self):
        for card in sorted(glob.glob("/sys/class/drm/card?")):
            if self.pci and not os.path.realpath(f"{card}/device").endswith(self.pci.lower()):
                continue
            values = {}
            for name, pattern, unit in self.FILES:
                for file in glob.glob(f"{card}/{pattern}"):
                    try:
                        values[name] = float(Path(file).read_text()) / unit
                    except (OSError, ValueError):
                        pass
            if values:
                self.found["source"] = card
                return self.add(values)

    def add(self, values):
        self.found["samples"].append({"at": round(self.steps.seconds(), 1), "part": self.steps.part, **values})

    def stop(self):
        self.ended.set()
        if self.process:
            self.process.kill()


def number(word):
    """Of nvidia-smi, which says `[N/A]` where there is none."""
    try:
        return float(word)
    except ValueError:
        return None
