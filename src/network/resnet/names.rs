//! The names of layers: one table for each style of a plan.

use super::naming::{Part, Unit};
use super::plan::{Plan, Shortcut, Style};

impl Plan {
    /// The name of a layer.
    pub(super) fn layer(&self, unit: Unit, part: Part) -> String {
        match (unit, part) {
            (Unit::Head, Part::Linear) => return self.head.name.clone(),
            (Unit::Hidden(n), part) => {
                let name = self
                    .head
                    .hidden
                    .get(n)
                    .map_or("hidden", |layer| &layer.name);
                return match part {
                    Part::Relu => format!("{name}.relu"),
                    _ => name.to_owned(),
                };
            }
            _ => {}
        }
        match self.style {
            Style::Torchvision => self.torchvision(unit, part),
            Style::Timm => self.timm(unit, part),
            Style::Lesson | Style::Branches | Style::Blocks | Style::Stacks => {
                self.keras(unit, part)
            }
        }
    }

    fn torchvision(&self, unit: Unit, part: Part) -> String {
        let deep = self.stem.len() > 1;
        let last = self.stem.len().saturating_sub(1);
        let averages = usize::from(self.shortcut == Shortcut::AveragePool);
        let middle = format!("conv{}", self.block.convolutions() - 1);
        let (place, layer) = match (unit, part) {
            (Unit::Stem(_), Part::Pool) => return "maxpool".to_owned(),
            (Unit::Stem(_), Part::Max) => return "maxpool.0".to_owned(),
            (Unit::Stem(n), Part::Conv) if deep => return format!("conv1.{}", 3 * n),
            (Unit::Stem(n), Part::Norm) if n < last => return format!("conv1.{}", 3 * n + 1),
            (Unit::Stem(n), Part::Relu) if n < last => return format!("conv1.{}", 3 * n + 2),
            (Unit::Stem(_), Part::Conv) => return "conv1".to_owned(),
            (Unit::Stem(_), Part::Norm) => return "bn1".to_owned(),
            (Unit::Stem(_), _) => return "relu".to_owned(),
            (Unit::Main(place, n), Part::Conv) => (place, format!("conv{}", n + 1)),
            (Unit::Main(place, n), Part::Norm) => (place, format!("bn{}", n + 1)),
            (Unit::Main(place, n), _) => (place, format!("relu{}", n + 1)),
            (Unit::Shortcut(place), Part::Conv) => (place, format!("downsample.{averages}")),
            (Unit::Shortcut(place), Part::Norm) => (place, format!("downsample.{}", averages + 1)),
            (Unit::Shortcut(place), _) => (place, "downsample.0".to_owned()),
            (Unit::Blur(place), _) => (place, "aa".to_owned()),
            (Unit::Squeeze(place), Part::Conv) => (place, "se.fc1".to_owned()),
            (Unit::Squeeze(place), Part::Relu) => (place, "se.act".to_owned()),
            (Unit::Squeeze(place), _) => (place, "se.pool".to_owned()),
            (Unit::Excite(place), Part::Conv) => (place, "se.fc2".to_owned()),
            (Unit::Excite(place), _) | (Unit::Channels(place), Part::Gate) => {
                (place, "se".to_owned())
            }
            (Unit::Channels(place), Part::Conv) => (place, "se.conv".to_owned()),
            (Unit::Channels(place), _) => (place, "se.pool".to_owned()),
            (Unit::Path(place, n), part) => {
                let layer = match part {
                    Part::Conv => "conv",
                    Part::Norm => "bn",
                    _ => "act",
                };
                (place, format!("{middle}.paths.{n}.{layer}"))
            }
            (Unit::Split(place, n), Part::Conv) => (place, format!("conv1.{n}")),
            (Unit::Split(place, n), Part::Norm) => (place, format!("bn1.{n}")),
            (Unit::Split(place, n), _) => (place, format!("relu1.{n}")),
            (Unit::Scale(place, n), part) => {
                let layer = match part {
                    Part::Conv => "convs",
                    Part::Norm => "bns",
                    Part::Add => "adds",
                    Part::Pool => "pool",
                    _ => "relus",
                };
                (place, format!("{layer}.{n}"))
            }
            (Unit::Join(place, n), Part::Conv) => (place, format!("conv3.{n}")),
            (Unit::Join(place, n), _) => (place, format!("add3.{n}")),
            (Unit::Reduce(place), part) => {
                let layer = match part {
                    Part::Conv => "fc_reduce",
                    Part::Norm => "bn",
                    Part::Add => "sum",
                    Part::Pool => "pool",
                    _ => "act",
                };
                (place, format!("{middle}.attn.{layer}"))
            }
            (Unit::Choose(place, 0), Part::Conv) => (place, format!("{middle}.attn.fc_select")),
            (Unit::Choose(place, n), Part::Conv) => (place, format!("{middle}.attn.fc_select.{n}")),
            (Unit::Choose(place, n), Part::Gate) => (place, format!("{middle}.attn.{n}")),
            (Unit::Choose(place, _), _) => (place, middle),
            (Unit::Sum(place), Part::Add) => (place, "add".to_owned()),
            (Unit::Sum(place), _) if self.clamps_last => (place, "relu".to_owned()),
            (Unit::Sum(place), _) => (place, format!("relu{}", self.block.convolutions())),
            (Unit::Last, _) => return "norm".to_owned(),
            (Unit::Attention(of), _) => return format!("attnpool.{}_proj", of.letter()),
            (Unit::Head, Part::Gate) => return "attnpool".to_owned(),
            (Unit::Head | Unit::Hidden(_), _) => return "avgpool".to_owned(),
        };
        format!("layer{}.{}.{layer}", place.stage + 1, place.block)
    }

    fn timm(&self, unit: Unit, part: Part) -> String {
        let number = |n: usize| {
            if self.stem.len() > 1 {
                (n + 1).to_string()
            } else {
                String::new()
            }
        };
        let (place, layer) = match (unit, part) {
            (Unit::Stem(_), Part::Pool) => return "stem.pool".to_owned(),
            (Unit::Stem(n), Part::Conv) => return format!("stem.conv{}", number(n)),
            (Unit::Stem(n), Part::Norm) => return format!("stem.norm{}", number(n)),
            (Unit::Stem(n), _) => return format!("stem.norm{}.act", number(n)),
            (Unit::Main(place, n), Part::Conv) => (place, format!("conv{}", n + 1)),
            (Unit::Main(place, n), Part::Norm) => (place, format!("norm{}", n + 1)),
            (Unit::Main(place, n), _) => (place, format!("norm{}.act", n + 1)),
            (Unit::Shortcut(place), Part::Conv) => (place, "downsample.conv".to_owned()),
            (Unit::Shortcut(place), Part::Norm) => (place, "downsample.norm".to_owned()),
            (Unit::Shortcut(place), _) => (place, "downsample.pool".to_owned()),
            (Unit::Blur(place), _) => (place, "aa".to_owned()),
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
            ) => (place, "se".to_owned()),
            (Unit::Sum(place), Part::Relu) => (place, "act".to_owned()),
            (Unit::Sum(place), _) => (place, "add".to_owned()),
            (Unit::Last, Part::Norm) => return "norm".to_owned(),
            (Unit::Last, _) => return "norm.act".to_owned(),
            (Unit::Head | Unit::Hidden(_) | Unit::Attention(_), _) => {
                return "head.global_pool".to_owned();
            }
        };
        format!("stages.{}.blocks.{}.{layer}", place.stage, place.block)
    }
}

/// The name of a layer of a shortcut whose average has no number.
pub(super) fn without_average(layer: &str) -> String {
    let layer = layer.replace("downsample.1", "downsample.0");
    layer.replace("downsample.2", "downsample.1")
}

/// The name of one of torchvision's layers in Detectron2, where a convolution has its normalisation within.
pub(super) fn detectron(layer: &str) -> String {
    let stage = |layer: &str| -> Option<String> {
        let (stage, rest) = layer.strip_prefix("layer")?.split_once('.')?;
        Some(format!("res{}.{rest}", stage.parse::<usize>().ok()? + 1))
    };
    let layer = stage(layer).unwrap_or_else(|| format!("stem.{layer}"));
    let layer = layer.replace("downsample.0", "shortcut");
    let layer = layer.replace("downsample.1", "shortcut.norm");
    match layer.rsplit_once("bn") {
        Some((before, number)) => format!("{before}conv{number}.norm"),
        None => layer,
    }
}
