//! A minimal protocol buffer writer, for ONNX files that no exporter would write.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "the module is compiled into each test binary"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

pub fn int(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value.cast_unsigned())].concat()
}

pub fn bytes(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [
        varint(number << 3 | 2),
        varint(content.len() as u64),
        content.to_vec(),
    ]
    .concat()
}

pub fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    node_of(op, inputs, &[output], attributes)
}

pub fn node_of(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut node = Vec::new();
    for input in inputs {
        node.extend(bytes(1, input));
    }
    for output in outputs {
        node.extend(bytes(2, output));
    }
    node.extend(bytes(3, "same name"));
    node.extend(bytes(4, op));
    for attribute in attributes {
        node.extend(bytes(5, attribute));
    }
    bytes(1, node)
}

pub fn ints(name: &str, ints: &[i64]) -> Vec<u8> {
    let ints = ints.iter().flat_map(|&i| int(8, i)).collect();
    [bytes(1, name), ints, int(20, 7)].concat()
}

pub fn attribute(name: &str, value: i64) -> Vec<u8> {
    [bytes(1, name), int(3, value), int(20, 2)].concat()
}

pub fn text(name: &str, value: &str) -> Vec<u8> {
    [bytes(1, name), bytes(4, value), int(20, 3)].concat()
}

/// A tensor of floats.
pub fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| int(1, d)).collect();
    let data: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    bytes(
        5,
        [dims, int(2, 1), bytes(8, name), bytes(9, data)].concat(),
    )
}

/// A list of integers.
pub fn longs(name: &str, numbers: &[i64]) -> Vec<u8> {
    let data: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let len = i64::try_from(numbers.len()).unwrap();
    let fields = [int(1, len), int(2, 7), bytes(8, name), bytes(9, data)];
    bytes(5, fields.concat())
}

/// A tensor of ones; `more` holds further fields.
pub fn tensor(name: &str, dims: &[i64], more: &[u8]) -> Vec<u8> {
    let len = dims.iter().product::<i64>();
    let data = 1f32.to_le_bytes().repeat(usize::try_from(len).unwrap());
    let dims = dims.iter().flat_map(|&d| int(1, d)).collect();
    let fields = [
        dims,
        int(2, 1),
        bytes(8, name),
        bytes(9, data),
        more.to_vec(),
    ];
    bytes(5, fields.concat())
}

/// A file of opset 13 whose input is `x`, `[1, 3, 8, 8]`, and whose output is `y`.
pub fn model(parts: &[Vec<u8>]) -> Vec<u8> {
    let parts = [parts.concat(), bytes(12, bytes(1, "y"))].concat();
    model_of(13, "", &[1, 3, 8, 8], &parts)
}

/// A file with this opset and producer, whose input is `x`.
pub fn model_of(opset: i64, producer: &str, dims: &[i64], graph: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| bytes(1, int(1, d))).collect();
    let kind = bytes(1, [int(1, 1), bytes(2, dims)].concat());
    let input = bytes(11, [bytes(1, "x"), bytes(2, kind)].concat());
    let graph = bytes(7, [graph, &input].concat());
    [
        int(1, 8),
        bytes(2, producer),
        graph,
        bytes(8, int(2, opset)),
    ]
    .concat()
}
