//! Residual networks: a plan of what the layers compute, and a naming of their tensors.
//!
//! [`open`] infers the plan from the tensors of a file; [`random`] takes a plan and generates
//! random tensors. `parts/` has one file for each part of a network.

mod arch;
mod decide;
mod keras;
mod lesson;
mod names;
mod naming;
mod parts;
mod plan;
mod published;
mod settings;
mod stated;

pub use arch::Arch;
pub use keras::{layers, of_names};
pub use lesson::size_for as lesson_size_for;
pub use naming::Naming;
pub use plan::{
    AntiAlias, Bias, Block, Head, HeadPooling, Hidden, MaxPool, Norm, Plan, Projects, Selective,
    Shortcut, ShortcutOrder, StrideSite, Style,
};
pub use stated::{CONFIG, Config, PREPROCESSOR, Stated};

use super::{
    Blueprint, Choice, Confidence, Decision, Draft, Family, ModelOptions, Network, Random,
    TensorSource, Tensors, Variant, choose,
};
use crate::error::Error;
use crate::graph::ValueId;
use decide::Record;
use naming::Unit;
use parts::{
    Bench, Sight, anti_alias, attention_pool, block, channel_attention, head, norm, shortcut,
    squeeze_excite, stem,
};

/// Opens the network that the tensors of a file belong to.
///
/// # Errors
/// [`Error::Model`] if shapes, metadata and options do not match, the [weights section](Error) of
/// the errors for the tensors, and [`Error::Geometry`] for images that are too small.
pub fn open(
    source: &mut dyn TensorSource,
    naming: &Naming,
    stated: Stated,
    options: &ModelOptions,
) -> Result<Network, Error> {
    let sight = Sight {
        source: &*source,
        naming,
    };
    let mut pinned = None;
    let (plan, features, found) = if naming.family() == Family::Notebook {
        let why = "is not for the lesson's network";
        settings::refuse_others(&options.settings, |name| name == "bgr", why)?;
        let declared = stated.metadata.get("family").map(String::as_str);
        let (plan, features) = lesson::infer(&sight, declared, options.variant)?;
        (plan, Some(features), Vec::new())
    } else {
        let mut plan = infer(&sight)?;
        if let HeadPooling::Attention(_) = plan.head.pooling {
            pinned = Some(attention_pool::size(&sight, &plan)?);
        }
        let mut found = decide::invisible(
            &mut plan,
            naming,
            &stated,
            options.variant,
            &options.settings,
        )?;
        found.extend(settings::apply(
            &mut plan,
            &stated.config,
            &options.settings,
        )?);
        found.extend(norm::decide(&mut plan, &stated, &options.settings)?);
        found.extend(head::decide(&mut plan, &stated, &options.settings)?);
        (plan, None, found)
    };
    let name = plan.name();
    if let Some(arch) = options.arch.filter(|arch| arch.name() != name) {
        return Err(Error::Model {
            model: arch.name().to_owned(),
            reason: format!("the weights are of {name}; leave the architecture out to use them"),
        });
    }
    let shown = Decision::certain("architecture", name, "shapes of the weights");
    let mut record = Record::new(plan, naming.family(), stated);
    record.gather([shown].into_iter().chain(found))?;
    record.state_channels(&options.settings)?;
    record.normalize(parts::preprocess::read(source, naming.normalizations())?);
    let size = record.decide_size(|plan, stated| match features {
        Some(features) => lesson::decide_size(plan.stem_channels(), features, options.size, stated),
        None => match (options.size, pinned) {
            (Some(asked), Some(size)) if asked != size => Err(Error::Model {
                model: plan.name(),
                reason: format!(
                    "its positions are those of images of {}x{}; leave the size out",
                    size[0], size[1]
                ),
            }),
            (asked, pinned) => Ok(asked.or(pinned).unwrap_or(stated)),
        },
    })?;
    record.decide_labels();
    record.decide_activation(naming);
    let parts = lay_out(&record.plan, naming, source, size)?;
    Network::new(parts, record.facts(), options)
}

/// Makes a network with random weights from a plan.
///
/// # Errors
/// As [`open`].
pub fn random(plan: &Plan, seed: u64, options: &ModelOptions) -> Result<Network, Error> {
    if let Some(entry) = &options.entry {
        return Err(Error::Model {
            model: plan.name(),
            reason: format!("random weights have no entry '{entry}'; leave it out"),
        });
    }
    let mut plan = plan.clone();
    let name = Decision::certain("architecture", plan.name(), "asked for");
    let stated = Stated::default();
    let found = match plan.style {
        Style::Torchvision => decide::invisible(
            &mut plan,
            &Naming::of_random_weights(),
            &stated,
            options.variant,
            &options.settings,
        )?,
        Style::Timm | Style::Branches | Style::Blocks | Style::Stacks => Vec::new(),
        Style::Lesson => {
            let choice = Choice {
                model: &plan.name(),
                possible: &[Variant::Notebook],
                usual: Some((Variant::Notebook, Confidence::Certain)),
                reason: "",
            };
            choose(&choice, options.variant)?;
            Vec::new()
        }
    };
    let mut record = Record::new(plan, Family::Random, stated);
    record.gather([name].into_iter().chain(found))?;
    record.name_classes();
    let size = record.decide_size(|_, usual| Ok(options.size.unwrap_or(usual)))?;
    let parts = lay_out(
        &record.plan,
        &Naming::of_random_weights(),
        &mut Random { seed },
        size,
    )?;
    Network::new(parts, record.facts(), options)
}

/// Infers the plan from the shapes in a file. Shapes do not show strides.
fn infer(sight: &Sight<'_>) -> Result<Plan, Error> {
    let mut plan = Plan::new(Block::Bottleneck, [1; 4], 1);
    if sight.naming.family() == Family::PreActivation {
        plan.style = Style::Timm;
        plan.pre_activation = true;
        "head.fc".clone_into(&mut plan.head.name);
    }
    attention_pool::infer(sight, &mut plan)?;
    stem::infer(sight, &mut plan)?;
    block::infer(sight, &mut plan)?;
    head::infer(sight, &mut plan);
    shortcut::infer(sight, &mut plan);
    norm::infer(sight, &mut plan);
    squeeze_excite::infer(sight, &mut plan)?;
    channel_attention::infer(sight, &mut plan);
    anti_alias::infer(sight, &mut plan);
    Ok(plan)
}

/// Adds a backbone to a larger network, with the value `image` as its input and `scope` as the
/// prefix of its layer names. The channels are those of the tensors; those of the plan are ignored.
///
/// # Errors
/// As [`open`].
pub fn backbone(
    plan: &Plan,
    source: &mut dyn TensorSource,
    (draft, image): (&mut Draft, ValueId),
    scope: &str,
) -> Result<ValueId, Error> {
    let naming = &Naming::keras();
    let mut plan = plan.clone();
    let sight = Sight {
        source: &*source,
        naming,
    };
    stem::channels(&sight, &mut plan)?;
    block::channels(&sight, &mut plan)?;
    let mut bench = Bench {
        plan: &plan,
        naming,
        source,
        draft,
        scope,
    };
    body(&mut bench, image)
}

/// Builds a network for images of a nominal size.
fn lay_out(
    plan: &Plan,
    naming: &Naming,
    source: &mut dyn TensorSource,
    size: [usize; 2],
) -> Result<(Blueprint, Tensors), Error> {
    let mut draft = Draft::new(
        "input",
        if plan.image_c == 1 { 3 } else { plan.image_c },
        size,
    )?;
    let image = draft.input();
    let mut bench = Bench {
        plan,
        naming,
        source,
        draft: &mut draft,
        scope: "",
    };
    let feature_map = body(&mut bench, image)?;
    let ends = head::build(&mut bench, feature_map)?;
    Ok(draft.finish(ends))
}

/// The backbone: everything before the head.
fn body(bench: &mut Bench<'_>, image: ValueId) -> Result<ValueId, Error> {
    let mut x = stem::build(bench, image)?;
    for site in block::sites(bench.plan) {
        x = block::build(bench, &site, x)?;
    }
    if bench.plan.pre_activation {
        x = bench.activate(Unit::Last, x)?;
    }
    Ok(x)
}

impl Arch {
    /// Makes the network of this name with random weights.
    ///
    /// ```
    /// use resnet_wgpu::graph::Role;
    /// use resnet_wgpu::network::{Arch, ModelOptions};
    ///
    /// let options = ModelOptions::default();
    /// let model = Arch::ResNet18.random(0, &options)?.model(&options)?;
    /// assert_eq!(model.graph.value_of(Role::Logits)?.name, "fc");
    /// # Ok::<(), resnet_wgpu::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open`].
    pub fn random(self, seed: u64, options: &ModelOptions) -> Result<Network, Error> {
        random(&self.plan(options.classes), seed, options)
    }
}
