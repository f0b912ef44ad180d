//! The layers of a network in their order, for files of Keras: those that only number their tensors, and
//! those of which nothing but the names of layers shows the plan.

use super::body;
use super::naming::{Naming, Part, Place, Unit};
use super::parts::Bench;
use super::plan::{Block, Plan, Style};
use crate::error::Error;
use crate::network::{Draft, Parameter, TensorSource};
use crate::tensor::Tensor;

/// The names of tensors in the order in which they are taken.
struct Roll(Vec<String>);

impl TensorSource for Roll {
    fn dims(&self, _: &str) -> Option<Vec<usize>> {
        None
    }

    fn take(&mut self, name: &str, dims: &[usize]) -> Result<Tensor, Error> {
        self.0.push(name.to_owned());
        Ok(Tensor::from_fn(dims, |_| 0.0))
    }
}

/// The layers with parameters before the head, in their order, and their parameters.
///
/// # Errors
/// As [`open`](super::open).
pub fn layers(plan: &Plan) -> Result<Vec<(String, Vec<Parameter>)>, Error> {
    // With one channel everywhere: only names matter.
    let stages = plan.blocks.len();
    let plan = Plan {
        stem: vec![1; plan.stem.len()],
        widths: vec![1; stages],
        outputs: vec![1; stages],
        ..plan.clone()
    };
    let mut roll = Roll(Vec::new());
    let mut draft = Draft::new("input", [224, 224])?;
    let image = draft.input();
    let mut bench = Bench {
        plan: &plan,
        naming: &Naming::keras(),
        source: &mut roll,
        draft: &mut draft,
        scope: "",
    };
    body(&mut bench, image)?;
    let mut layers: Vec<(String, Vec<Parameter>)> = Vec::new();
    for name in &roll.0 {
        let Some((layer, parameter)) = Parameter::of_keras(name) else {
            continue;
        };
        match layers.last_mut() {
            Some((last, parameters)) if last == layer => parameters.push(parameter),
            _ => layers.push((layer.to_owned(), vec![parameter])),
        }
    }
    Ok(layers)
}

/// What the names of layers show of a plan of a style, if there are any; `has` says whether there is a
/// layer of a name. The rest of the plan is the usual one, without channels.
pub fn of_names(style: Style, has: impl Fn(&str) -> bool) -> Option<Plan> {
    let mut plan = Plan {
        style,
        ..Plan::new(Block::Bottleneck, [0; 4], 0)
    };
    let main = |stage, block, number| Unit::Main(Place { stage, block }, number);
    let conv = |plan: &Plan, unit| has(&plan.layer(unit, Part::Conv));
    let count = |stage: usize| {
        let exists = |&block: &usize| conv(&plan, main(stage, block, 0));
        (0..).take_while(exists).count()
    };
    let blocks: Vec<usize> = (0..).map(count).take_while(|&blocks| blocks > 0).collect();
    if blocks.is_empty() {
        return None;
    }
    plan.blocks = blocks;
    // Only KerasHub has networks of the other kind.
    if style == Style::Stacks && !conv(&plan, main(0, 0, 2)) {
        plan.block = Block::Basic;
    }
    plan.pre_activation = true;
    plan.pre_activation = has(&plan.layer(main(0, 0, 0), Part::Norm));
    if style != Style::Branches {
        let stem = (0..).take_while(|&number| conv(&plan, Unit::Stem(number)));
        plan.stem = vec![0; stem.count().max(1)];
    }
    Some(plan)
}
