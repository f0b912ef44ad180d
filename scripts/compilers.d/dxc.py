"""Microsoft's HLSL compiler as a function, driven as wgpu drives it. It validates the code that it makes."""

import ctypes
import uuid


def _guid(text):
    return (ctypes.c_ubyte * 16)(*uuid.UUID(text).bytes_le)


_COMPILER_CLASS = _guid("73e22d93-e6ce-47f3-b5bf-f0664f39c1b0")
_COMPILER = _guid("228b4687-5a6a-4730-900c-9702b2203f54")
_RESULT = _guid("58346cda-dde7-4497-9461-6f87af5e0659")
_TEXT = _guid("3da636c9-ba71-4024-a301-30cbf125305b")
_OUT_ERRORS = 2
_UTF8 = 65001
# Where the functions of an interface start in its table: on Linux, this version has two destructors behind the three
# functions of every object.
_FIRST = 5


class _Buffer(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char_p), ("size", ctypes.c_size_t), ("encoding", ctypes.c_uint32)]


class _Object:
    """A COM object."""

    def __init__(self):
        self.at = ctypes.c_void_p()

    def call(self, index, *arguments, result=ctypes.c_int32):
        table = ctypes.cast(self.at, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
        kinds = [ctypes.c_void_p] + [type(argument) for argument in arguments]
        return ctypes.CFUNCTYPE(result, *kinds)(table[index])(self.at, *arguments)

    def release(self):
        if self.at:
            self.call(2, result=ctypes.c_uint32)


def _pointer(value):
    return ctypes.cast(ctypes.byref(value), ctypes.c_void_p)


class Compiler:
    def __init__(self, library):
        create = ctypes.CDLL(library).DxcCreateInstance
        self.compiler = _Object()
        status = create(_COMPILER_CLASS, _COMPILER, ctypes.byref(self.compiler.at))
        if status < 0:
            raise RuntimeError(f"{library} makes no compiler: {status:#x}")

    def complaints(self, path, profile):
        """What it says of a file: nothing, if wgpu would take the result."""
        source = path.read_bytes()
        # naga renames a `main` that is a reserved word to it.
        entry = "main_" if b"void main_(" in source else "main"
        flags = ["-E", entry, "-T", profile, "-HV", "2018", "-no-warnings", "-Ges"]
        if profile == "cs_6_2":
            flags.append("-enable-16bit-types")
        flags = (ctypes.c_wchar_p * len(flags))(*flags)
        buffer = _Buffer(source, len(source), _UTF8)
        result = _Object()
        count = ctypes.c_uint32(len(flags))
        nothing = ctypes.c_void_p()
        arguments = [_pointer(buffer), _pointer(flags), count, nothing, _pointer(_RESULT), _pointer(result.at)]
        self.compiler.call(_FIRST, *arguments)
        status = ctypes.c_int32(-1)
        result.call(_FIRST, _pointer(status))
        text = _Object()
        out = [ctypes.c_uint32(_OUT_ERRORS), _pointer(_TEXT), _pointer(text.at), nothing]
        result.call(_FIRST + 4, *out)
        said = ""
        if text.at and text.call(_FIRST + 4, result=ctypes.c_size_t):
            said = text.call(_FIRST + 3, result=ctypes.c_char_p).decode(errors="replace")
        text.release()
        result.release()
        # Only the Windows version signs.
        said = "\n".join(line for line in said.splitlines() if line and "will not be signed" not in line)
        return said if said or status.value >= 0 else f"failed without a message: {status.value:#x}"
