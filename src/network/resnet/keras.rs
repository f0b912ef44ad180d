//! Keras's layer names and their order: for files that only number their tensors, and for files
//! where only layer names show the plan.

use super::body;
use super::naming::{Naming, Part, Place, Unit};
use super::parts::Bench;
use super::plan::{Block, Plan, Style};
use crate::error::Error;
use crate::network::{Draft, Parameter, TensorSource};
use crate::tensor::Tensor;

impl Plan {
    /// The name of a layer in one of Keras's styles.
    pub(super) fn keras(&self, unit: Unit, part: Part) -> String {
        let style = self.style;
        let lesson = style == Style::Lesson;
        let branches = lesson || style == Style::Branches;
        let block = |Place { stage, block }| match style {
            Style::Blocks => format!("conv{}_block{}", stage + 2, block + 1),
            Style::Stacks => format!("stack{stage}_block{block}"),
            _ => format!("res{}{}", stage + 2, letter(block)),
        };
        let kind = match part {
            Part::Conv => "conv",
            Part::Norm => "bn",
            Part::Relu => "relu",
            _ => "pool",
        };
        let (place, number) = match (unit, part) {
            (Unit::Stem(_), Part::Pool) if lesson => return "max_pool".to_owned(),
            (Unit::Stem(_), Part::Pool) => return "pool1_pool".to_owned(),
            (Unit::Stem(_), Part::Conv) if branches => return "conv1".to_owned(),
            (Unit::Stem(_), Part::Norm) if branches => return "bn_conv1".to_owned(),
            (Unit::Stem(n), _) => return format!("conv{}_{kind}", n + 1),
            (Unit::Sum(place), Part::Add) if !self.pre_activation => {
                return format!("{}_add", block(place));
            }
            (Unit::Sum(place), _) if lesson => return format!("{}_relu", block(place)),
            (Unit::Sum(place), _) => return format!("{}_out", block(place)),
            (Unit::Last, _) => return format!("post_{kind}"),
            (Unit::Head, Part::Flatten) => return "flatten".to_owned(),
            (Unit::Head | Unit::Hidden(_) | Unit::Attention(_), _) => return "avg_pool".to_owned(),
            (Unit::Blur(place), _) => return format!("{}_aa", block(place)),
            (
                Unit::Squeeze(place)
                | Unit::Excite(place)
                | Unit::Channels(place)
                | Unit::Path(place, _)
                | Unit::Split(place, _)
                | Unit::Scale(place, _)
                | Unit::Join(place, _)
                | Unit::Reduce(place)
                | Unit::Choose(place, _),
                _,
            ) => {
                return format!("{}_se", block(place));
            }
            // Keras numbers a normalisation like the convolution that it follows.
            (Unit::Main(place, 0), Part::Norm | Part::Relu) if self.pre_activation => {
                let long = style == Style::Stacks;
                let before = if long { "pre_activation" } else { "preact" };
                return format!("{}_{before}_{kind}", block(place));
            }
            (Unit::Main(place, n), Part::Norm | Part::Relu) if self.pre_activation => (place, n),
            (Unit::Main(place, n), _) => (place, n + 1),
            (Unit::Shortcut(place), _) => (place, 0),
        };
        let block = block(place);
        let branch = match number {
            0 => "1".to_owned(),
            number => format!("2{}", letter(number - 1)),
        };
        match part {
            Part::Norm if branches => format!("{}_branch{branch}", block.replacen("res", "bn", 1)),
            Part::Conv if branches => format!("{block}_branch{branch}"),
            Part::Relu if lesson => format!("{block}_branch{branch}_relu"),
            _ => format!("{block}_{number}_{kind}"),
        }
    }
}

/// a, b, c … z, then numbers, which no published network needs.
fn letter(index: usize) -> String {
    match u8::try_from(index).ok().filter(|index| *index < 26) {
        Some(index) => char::from(b'a' + index).to_string(),
        None => index.to_string(),
    }
}

/// Records the names of tensors in the order in which they are taken.
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

/// The backbone's layers that have parameters, in order, each with its parameters.
///
/// # Errors
/// As [`open`](super::open).
pub fn layers(plan: &Plan) -> Result<Vec<(String, Vec<Parameter>)>, Error> {
    // One channel everywhere, as only names matter.
    let stages = plan.blocks.len();
    let plan = Plan {
        stem: vec![1; plan.stem.len()],
        widths: vec![1; stages],
        outputs: vec![1; stages],
        ..plan.clone()
    };
    let mut roll = Roll(Vec::new());
    let mut draft = Draft::new("input", 3, [224, 224])?;
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

/// The plan that layer names in this style show; `None` if there are none. `has` tells whether a
/// layer exists. The rest of the plan has its usual values, and channels are zero.
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
    // Only `KerasHub` has basic blocks.
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
