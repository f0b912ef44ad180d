//! Reads a pickle as plain data: the stack machine of Python's pickle protocols 2 to 5, without the
//! parts that run code.
//!
//! Returns the objects of the pickle at the start of a slice, and its length. "Calling" a name
//! listed in [`super::objects::Global`] creates a value of [`super::objects`] (see `construct`),
//! "calling" any other only records an object of that name; nothing is ever run.

mod construct;

use std::collections::HashMap;

use super::objects::{Objects, Value};
use crate::weights::contents::Fault;

/// Maximum number of steps. A ResNet-152 checkpoint with its optimiser state takes 0.1 million.
const MAX_STEPS: usize = 2_000_000;
/// Maximum rank of a tensor. PyTorch itself allows 64; networks need four.
const MAX_DIMS: usize = 16;

/// The result of reading a pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) root: Value<'a>,
    pub(super) objects: Objects<'a>,
    /// Length of the pickle in bytes.
    pub(super) bytes: usize,
}

/// Reads the pickle at the start of the data.
pub(super) fn load(data: &[u8]) -> Result<Pickle<'_>, Fault> {
    let mut machine = Machine {
        data,
        at: 0,
        steps: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Objects::default(),
    };
    while machine.step()? {}
    Ok(Pickle {
        root: machine.pop()?,
        objects: machine.objects,
        bytes: machine.at,
    })
}

struct Machine<'a> {
    data: &'a [u8],
    at: usize,
    steps: usize,
    stack: Vec<Value<'a>>,
    /// Stack heights where lists and tuples under construction begin.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    objects: Objects<'a>,
}

impl<'a> Machine<'a> {
    /// Executes one instruction; returns `false` after the last.
    fn step(&mut self) -> Result<bool, Fault> {
        // A table: an arm for each instruction.
        self.count(1)?;
        let [opcode] = self.array()?;
        match opcode {
            b'.' => return Ok(false),
            // Protocol version and frame length, which can be ignored.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),

            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(i64::from(number)));
            }
            b'K' => {
                let [number] = self.array()?;
                self.push(Value::Int(i64::from(number)));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(i64::from(number)));
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(number));
            }

            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            // Python 2 strings, which are byte strings.
            b'T' => self.bytes_or_text(4)?,
            b'U' => self.bytes_or_text(1)?,
            b'B' => self.bytes(4)?,
            b'C' => self.bytes(1)?,
            0x8e | 0x96 => self.bytes(8)?,

            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.discard()?,
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top);
            }

            b')' => self.tuple(0)?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.pop_mark()?;
                let id = self.objects.add_items(items);
                self.push(Value::Tuple(id));
            }
            b']' | 0x8f => {
                let id = self.objects.add_items(Vec::new());
                self.push(Value::List(id));
            }
            b'l' | 0x91 => {
                let items = self.pop_mark()?;
                let id = self.objects.add_items(items);
                self.push(Value::List(id));
            }
            b'}' => {
                let id = self.objects.add_items(Vec::new());
                self.push(Value::Dict(id));
            }
            b'd' => {
                let items = self.pop_mark()?;
                let id = self.objects.add_items(Vec::new());
                self.push(Value::Dict(id));
                self.add(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.add(&[item])?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.add(&[key, value])?;
            }
            b'e' | b'u' | 0x90 => {
                let items = self.pop_mark()?;
                self.add(&items)?;
            }

            b'h' => {
                let [slot] = self.array()?;
                self.recall(u32::from(slot))?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.array()?);
                self.recall(slot)?;
            }
            b'q' => {
                let [slot] = self.array()?;
                self.remember(u32::from(slot))?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.array()?);
                self.remember(slot)?;
            }
            0x94 => {
                // Steps are limited, so the memo has far fewer than 2^32 slots.
                let slot = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                self.remember(slot)?;
            }

            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err(self.damaged("names an object by something other than strings"));
                };
                self.global(module, name)?;
            }
            b'Q' => self.persistent()?,
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                let made = self.reduce(function, arguments)?;
                self.push(made);
            }
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                let made = self.reduce(class, arguments)?;
                self.push(made);
            }
            b'b' => self.build()?,

            other => {
                return Err(self.damaged(&format!(
                    "uses instruction 0x{other:02x}, which a checkpoint never has"
                )));
            }
        }
        Ok(true)
    }

    // === Bytes ===

    fn damaged(&self, what: &str) -> Fault {
        Fault::Damaged(format!("the pickle {what} (at byte {})", self.at))
    }

    fn count(&mut self, steps: usize) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_STEPS {
            return Err(self.damaged(&format!("has more than {MAX_STEPS} steps")));
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.data.get(self.at..end));
        let taken =
            taken.ok_or_else(|| self.damaged("ends too early: it is cut off or damaged"))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let taken = self.take(N)?;
        let array = taken.first_chunk().copied();
        array.ok_or_else(|| self.damaged("ends too early"))
    }

    /// Bytes preceded by their count, a little-endian number of `number_bytes` bytes.
    fn counted(&mut self, number_bytes: usize) -> Result<&'a [u8], Fault> {
        let number = self.take(number_bytes)?.iter().rev();
        let len = number.fold(0u64, |len, &byte| len << 8 | u64::from(byte));
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.data[self.at..];
        // Longer than any name of a Python module or class.
        let line = rest.iter().take(256).position(|&byte| byte == b'\n');
        let line = line.ok_or_else(|| self.damaged("has a name that does not end"))?;
        let line = self.take(line + 1)?;
        str::from_utf8(&line[..line.len() - 1])
            .map_err(|_| self.damaged("has a name that is not UTF-8"))
    }

    // === Values ===

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(value);
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value<'a>, Fault> {
        let above = self.stack.get(self.floor()..).and_then(<[_]>::last);
        above
            .copied()
            .ok_or_else(|| self.damaged("takes more than it has made"))
    }

    fn pop(&mut self) -> Result<Value<'a>, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Pops the top value, or the mark if nothing is above it.
    fn discard(&mut self) -> Result<(), Fault> {
        if self.stack.len() == self.floor() && self.marks.pop().is_some() {
            return Ok(());
        }
        self.pop().map(drop)
    }

    /// Pops all values above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| self.damaged("ends a list that was not begun"))?;
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, slot: u32) -> Result<(), Fault> {
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), Fault> {
        let value = self.memo.get(&slot).copied();
        self.push(value.ok_or_else(|| self.damaged("refers to an object that is not there"))?);
        Ok(())
    }

    fn long(&mut self, number_bytes: usize) -> Result<(), Fault> {
        let bytes = self.counted(number_bytes)?;
        let value = if bytes.len() > size_of::<i64>() {
            Value::Long(bytes)
        } else {
            let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
            let mut wide = [if negative { 0xff } else { 0 }; size_of::<i64>()];
            wide[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        };
        self.push(value);
        Ok(())
    }

    fn text(&mut self, number_bytes: usize) -> Result<(), Fault> {
        let bytes = self.counted(number_bytes)?;
        let text =
            str::from_utf8(bytes).map_err(|_| self.damaged("has a string that is not UTF-8"))?;
        self.push(Value::Text(text));
        Ok(())
    }

    fn bytes_or_text(&mut self, number_bytes: usize) -> Result<(), Fault> {
        let bytes = self.counted(number_bytes)?;
        self.push(str::from_utf8(bytes).map_or(Value::Other, Value::Text));
        Ok(())
    }

    fn bytes(&mut self, number_bytes: usize) -> Result<(), Fault> {
        self.counted(number_bytes)?;
        self.push(Value::Other);
        Ok(())
    }

    fn tuple(&mut self, len: usize) -> Result<(), Fault> {
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(self.pop()?);
        }
        items.reverse();
        let id = self.objects.add_items(items);
        self.push(Value::Tuple(id));
        Ok(())
    }

    /// Appends to the list or dict on top of the stack.
    fn add(&mut self, items: &[Value<'a>]) -> Result<(), Fault> {
        let top = self.top()?;
        match (top, self.objects.dict(top)) {
            (Value::List(id), _) => self.objects.extend(id, items),
            (_, Some(id)) if items.len().is_multiple_of(2) => self.objects.extend(id, items),
            (Value::Other | Value::Object(_) | Value::Class(_), _) => (),
            _ => return Err(self.damaged("adds to something that is neither a list nor a dict")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(data: &[u8]) -> Fault {
        load(data).expect_err("refused")
    }

    #[test]
    fn numbers_texts_and_lists_are_read() {
        let pickle =
            load(b"\x80\x02](J\xff\xff\xff\xffK\x07M\x00\x01\x8a\x01\x80X\x01\x00\x00\x00xe.rest")
                .expect("a list");
        let Value::List(list) = pickle.root else {
            panic!("{:?}", pickle.root);
        };
        let expected = [
            Value::Int(-1),
            Value::Int(7),
            Value::Int(256),
            Value::Int(-128),
            Value::Text("x"),
        ];
        assert_eq!(pickle.objects.items(list), expected, "items");
        assert_eq!(pickle.bytes, 25, "the rest is not of the pickle");
    }

    #[test]
    fn code_is_refused_by_name() {
        for (data, name) in [
            (
                &b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."[..],
                "os.system",
            ),
            (
                b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
                "builtins.eval",
            ),
            (b"c\x1b[2J\nx\n.", "?[2J.x"),
            (b"ctorch\n\n.", "torch."),
        ] {
            assert_eq!(fault(data), Fault::Forbidden(name.to_owned()), "{name}");
        }
        // Other instructions that refer to objects by name.
        for opcode in [b'i', b'o', b'P', 0x82, 0x83, 0x84, 0x97] {
            assert!(matches!(fault(&[opcode]), Fault::Damaged(_)), "{opcode:x}");
        }
    }

    #[test]
    fn nonsense_ends_in_an_error() {
        for data in [
            &b""[..],
            b".",
            b"a.",
            b"(0.",
            b"t.",
            b"(.",
            b"]2s.",
            b"NNa.",
            b"}Na.",
            b"h\x00.",
            b"NQ.",
            b")Q.",
            b")NR.",
            b"N)R.",
            b"X\xff\xff\xff\xffx.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.",
            b"X\x01\x00\x00\x00\xff.",
            b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
            b"ctorch._utils\n_rebuild_tensor_v2\nNR.",
            b"ctorch._tensor\n_rebuild_from_type_v2\n2NN\x87R.",
        ] {
            assert!(matches!(fault(data), Fault::Damaged(_)), "{data:?}");
        }
    }

    #[test]
    fn a_list_in_itself_and_deep_ones_do_no_harm() {
        load(b"]q\x00h\x00a.").expect("a cycle");
        let mut deep = vec![b'N'; 1];
        deep.extend([0x85; 1_000_000]);
        deep.push(b'.');
        load(&deep).expect("deep, but small");
    }

    #[test]
    fn endless_programs_and_growing_copies_are_stopped() {
        let mut long = b"N".repeat(MAX_STEPS);
        long.push(b'.');
        assert!(matches!(fault(&long), Fault::Damaged(_)), "steps");

        // A list of pairs, converted to a dict over and over.
        let mut copies = b"ccollections\nOrderedDict\nq\x000](".to_vec();
        copies.extend(b"NN\x86".repeat(50_000));
        copies.extend(b"eq\x010");
        copies.extend(b"h\x00h\x01\x85R0".repeat(50_000));
        copies.extend(b"N.");
        assert!(matches!(fault(&copies), Fault::Damaged(_)), "copies");
    }
}
