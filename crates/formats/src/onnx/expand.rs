//! Expands model-local functions: every call is replaced by the nodes of its function.

use std::collections::HashMap;

use super::proto::{Function, Name, Node, push};
use super::wire::{Damaged, Message};
use super::{operator, unreadable};
use resnet_wgpu::Error;

/// Maximum depth of calls between functions.
const MAX_DEPTH: usize = 16;

/// Maximum number of calls, counting those made by functions each time they are made.
const MAX_CALLS: usize = 1 << 12;

/// The part of a name that is kept in names derived from it.
fn short(name: &str) -> &str {
    name.char_indices()
        .nth(64)
        .map_or(name, |(end, _)| &name[..end])
}

/// All nodes, with every call replaced by the nodes of its function.
///
/// # Errors
/// If functions form a cycle, or if a call does not fit its function.
pub(super) fn expand<'a>(
    nodes: Vec<Node<'a>>,
    functions: &[Function<'a>],
    opset: i64,
) -> Result<Vec<Node<'a>>, Error> {
    if functions.is_empty() {
        return Ok(nodes);
    }
    let mut known = HashMap::new();
    for function in functions {
        known.insert(
            (function.domain, function.name, function.overload),
            function,
        );
    }
    let mut expansion = Expansion {
        functions: known,
        opset,
        calls: 0,
        nodes: Vec::new(),
    };
    for node in nodes {
        expansion.add(node, 0)?;
    }
    Ok(expansion.nodes)
}

struct Expansion<'a, 'f> {
    functions: HashMap<(&'a str, &'a str, &'a str), &'f Function<'a>>,
    opset: i64,
    /// Number of calls so far; it makes the names of values inside each call unique.
    calls: usize,
    nodes: Vec<Node<'a>>,
}

impl<'a> Expansion<'a, '_> {
    fn add(&mut self, node: Node<'a>, depth: usize) -> Result<(), Error> {
        let Some(&function) = self.functions.get(&(node.domain, node.op, node.overload)) else {
            return push(&mut self.nodes, node)
                .map_err(|Damaged(reason)| unreadable(reason.into()));
        };
        let refuse = |reason: &str| Err(operator(&node, reason.to_owned()));
        if depth == MAX_DEPTH {
            return refuse("functions of the file call each other in a cycle");
        }
        if function.opset.is_some_and(|opset| opset != self.opset) {
            return refuse("its function is of another opset than the network");
        }
        if node.inputs.len() > function.inputs.len() || node.outputs.len() > function.outputs.len()
        {
            return refuse("it has more inputs or outputs than its function");
        }
        let mut names: HashMap<&str, Name> = HashMap::new();
        let missing = || Name::from("");
        for (index, &name) in function.inputs.iter().enumerate() {
            names.insert(
                name,
                node.inputs.get(index).cloned().unwrap_or_else(missing),
            );
        }
        for (&name, output) in function.outputs.iter().zip(&node.outputs) {
            if !output.is_empty() {
                names.insert(name, output.clone());
            }
        }
        self.calls += 1;
        let call = self.calls;
        if call > MAX_CALLS {
            return refuse("functions of the file are called too often");
        }
        for inner in &function.nodes {
            if !inner.captured.is_empty() {
                return Err(operator(
                    inner,
                    "a branch in a function is not supported".to_owned(),
                ));
            }
            let mut rename = |name: &Name| match names.get(&**name) {
                _ if name.is_empty() => missing(),
                Some(name) => name.clone(),
                None => Name::from(format!("{}/{call}", short(name))),
            };
            let inputs = inner.inputs.iter().map(&mut rename).collect();
            let outputs = inner.outputs.iter().map(&mut rename).collect();
            let inner = Node {
                name: format!("{}/{}", short(node.shown()), short(inner.shown())).into(),
                inputs,
                outputs,
                attributes: attributes(&node, inner, function)?,
                ..inner.clone()
            };
            self.add(inner, depth + 1)?;
        }
        Ok(())
    }
}

/// The attributes of a node within a function; references to the call's attributes are resolved.
fn attributes<'a>(
    call: &Node<'a>,
    inner: &Node<'a>,
    function: &Function<'a>,
) -> Result<Vec<(&'a str, Message<'a>)>, Error> {
    let damaged = |Damaged(reason)| operator(inner, reason.to_owned());
    let mut found = Vec::new();
    for &(name, message) in &inner.attributes {
        let Some(outer) = message.last(21).map_err(damaged)? else {
            found.push((name, message));
            continue;
        };
        let outer = outer.text().map_err(damaged)?;
        let mut given = call.attributes.iter().chain(&function.defaults);
        if let Some(&(_, message)) = given.find(|(given, _)| *given == outer) {
            found.push((name, message));
        }
    }
    Ok(found)
}
