"""Commands that run one after the other in a given time."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

from text import reason_of


class Done:
    """How a command ended: `outcome` is ok, failed, cut off, left out, not here, or interrupted."""

    def __init__(self, step, out):
        self.step, self.out = step, out
        self.ok = step["outcome"] == "ok"
        try:
            self.record = json.loads(out)
        except ValueError:
            self.record = None

    def replaced(self, outcome, error):
        """The same command with another outcome, and nothing that it printed."""
        self.step["outcome"], self.step["error"] = outcome, error
        return Done(self.step, "")


class Steps:
    """Runs one command after the other, none longer than is left, and calls `changed` before and after each."""

    def __init__(self, seconds, changed):
        self.begin = time.monotonic()
        self.total = seconds
        self.changed = changed
        self.done = []
        self.part, self.part_end = "", self.total

    def seconds(self):
        return time.monotonic() - self.begin

    def left(self):
        """The seconds that the part has left."""
        return self.part_end - self.seconds()

    def enter(self, part, share):
        """Begins a part, which may take this share of the whole time."""
        self.part, self.part_end = part, min(self.total, self.seconds() + share * self.total)

    def run(self, name, command, limit, shown, environment, folder, absent=None):
        """Runs a command, which the report shows as `shown`; `absent` is the exit code of what is not installed."""
        step = self.add(name, shown)
        began, left = self.seconds(), self.left()
        if left < 2:
            done = Done(step, "").replaced("left out", "no time was left for it")
            self.changed()
            return done
        print(f"{began:5.0f} s  {name}", file=sys.stderr, flush=True)
        self.changed()
        out = ""
        try:
            out = self.finish(step, command, min(limit, left), {**os.environ, **environment}, folder, absent)
        except OSError as error:
            step["outcome"], step["error"] = "failed", f"{error.strerror}: '{command[0]}'"
        except BaseException:
            step["outcome"], step["error"] = "interrupted", "interrupted"
            raise
        finally:
            step["seconds"] = round(self.seconds() - began, 1)
        if step["outcome"] not in ("ok", "not here"):
            print(f"         {step['outcome']}: {reason_of(step['error'])}", file=sys.stderr, flush=True)
        self.changed()
        return Done(step, out)

    def skip(self, name, shown, outcome, error):
        done = Done(self.add(name, shown), "").replaced(outcome, error)
        self.changed()
        return done

    def add(self, name, shown):
        step = {
            "name": name,
            "part": self.part,
            "command": shlex.join(shown),
            "began": round(self.seconds(), 1),
            "seconds": 0.0,
            "exit": None,
            "outcome": "running",
            "error": None,
            "warnings": [],
        }
        self.done.append(step)
        return step

    def finish(self, step, command, limit, environment, folder, absent):
        """Waits, and says in `step` how it ended."""
        # A group of its own: all of it is ended at the limit, and a Ctrl-C is this program's to handle.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        late = False
        try:
            out, error = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            late = True
            out, error = end(process)
        except BaseException:
            end(process)
            raise
        out, error = out.decode(errors="replace"), error.decode(errors="replace").splitlines()
        step["exit"] = process.returncode
        step["warnings"] = [line[9:] for line in error if line.startswith("warning: ")]
        kept = [line for line in error if not line.startswith(("warning: ", "note: "))][-20:]
        if late:
            step["outcome"], kept = "cut off", [*kept, f"stopped after {limit:.0f} s, which is all the time it had"]
        elif process.returncode == 0:
            step["outcome"], kept = "ok", []
        else:
            step["outcome"] = "not here" if process.returncode == absent else "failed"
            kept = kept or [f"exit code {process.returncode}"]
            if process.returncode < 0:
                kept.append(f"ended by {signal.Signals(-process.returncode).name}")
        step["error"] = "\n".join(kept) or None
        return out


def end(process):
    """Ends all of a process group, politely first; what it had printed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            return process.communicate(timeout=3)
        except subprocess.TimeoutExpired as late:
            found = late.stdout or b"", late.stderr or b""
    # Something that left the group holds its pipes, or the driver holds it.
    return found
