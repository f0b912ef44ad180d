//! Plans without the kernels that are wrong on an adapter.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use resnet_wgpu::Error;
use resnet_wgpu::check::{Check, WrongKernel};
use resnet_wgpu::gpu::Session;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::gpu::check_room;
use resnet_wgpu::plan::{InputFormat, Plan, PlanOptions, Winograd};

use super::Gpu;

/// How far rounding alone may take a network from what the CPU computes, relative to the largest number, if each
/// of its kernels is right: 1.4e-4 is the most that was seen, in an SK-ResNet-50 with random weights.
const ROUNDING: f32 = 0.02;

/// Says, where somebody waits, why it takes longer this time.
fn say_what_is_new(checked: &str) {
    if io::stderr().is_terminal() {
        log::info!("the adapter, its driver or a kernel is new: {checked} checked against the CPU");
    }
}

/// True once in a while: whoever says that something is right is not believed for ever.
fn by_chance() -> bool {
    RandomState::new().hash_one(0).is_multiple_of(16)
}

impl Gpu {
    /// The options for planning a graph: the choices stored for it, and without the kernels that are wrong on
    /// this adapter, which are looked for when something is new about it.
    ///
    /// # Errors
    /// Those of plans and of the device, and [`Error::WrongKernel`] where no right kernel is left.
    pub fn options(&self, graph: &Graph, input: InputFormat) -> Result<PlanOptions, Error> {
        Ok(self.plan_by(graph, self.unchecked_options(graph, input))?.0)
    }

    /// The plan by these options, but without Winograd's algorithm.
    ///
    /// # Errors
    /// As [`Self::options`].
    pub fn plan_without_winograd(&self, graph: &Graph, input: InputFormat) -> Result<Plan, Error> {
        let options = self.unchecked_options(graph, input).winograd(Winograd::Off);
        Ok(self.plan_by(graph, options)?.1)
    }

    /// The plan by these options, and a check of the whole network that is to follow where that is faster.
    pub(crate) fn plan_first(
        &self,
        graph: &Graph,
        input: InputFormat,
    ) -> Result<(Plan, Option<Check>), Error> {
        let options = self.unchecked_options(graph, input);
        let plan = Plan::new(graph, &options)?;
        if self.wanted.no_self_check {
            return Ok((plan, None));
        }
        let check = self.check_of(graph, &options, &plan)?;
        // What is known to be wrong has changed the options.
        if *check.options() == options && check.suits_whole() {
            let believed = check.is_known() && !by_chance();
            return Ok((plan, (!believed).then_some(check)));
        }
        let (_, plan) = self.checked_plan(graph, &options, plan, check, None)?;
        Ok((plan, None))
    }

    /// Compares the network with the CPU; returns the check and the difference if that is too large.
    pub(crate) fn compare(
        &self,
        mut check: Check,
        session: &Session,
        plan: &Plan,
    ) -> Result<Option<(Check, f32)>, Error> {
        if !check.is_known() {
            say_what_is_new("the network is");
        }
        let start = Instant::now();
        let difference = check.of_whole(session, plan)?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        log::debug!("compared with the CPU in {ms:.0} ms: a difference of {difference:?}");
        if difference.is_none() || !check.is_known() {
            return Ok(Some((check, difference.unwrap_or_default())));
        }
        let options = check.options().clone();
        self.keep(check, Some(&options));
        Ok(None)
    }

    /// Another plan without the kernels that make a network wrong, and its check; `None` if rounding can have done
    /// it.
    pub(crate) fn plan_without_wrong(
        &self,
        graph: &Graph,
        plan: &Plan,
        check: Check,
        difference: f32,
    ) -> Result<Option<(Plan, Check)>, Error> {
        let before = check.options().clone();
        let (right, plan) =
            self.checked_plan(graph, &before, plan.clone(), check, Some(difference))?;
        if right == before {
            return Ok(None);
        }
        let check = Check::of(graph, &right, &plan)?;
        Ok(Some((plan, check)))
    }

    /// Remembers what a check has found: if there are news about plans by these options, for the next start, too.
    fn keep(&self, mut check: Check, news: Option<&PlanOptions>) {
        if let (Some(caches), Some(options)) = (&self.caches, news) {
            caches.store_check(&self.context, options, &check);
        }
        let mut checked = self.checked();
        if let Some(before) = checked.take() {
            check.join(&before);
        }
        *checked = Some(check);
    }

    /// The check of a plan, which believes what earlier ones have found.
    fn check_of(&self, graph: &Graph, options: &PlanOptions, plan: &Plan) -> Result<Check, Error> {
        check_room(&self.context.device, plan)?;
        let mut check = Check::of(graph, options, plan)?;
        match (&*self.checked(), &self.caches) {
            (Some(before), _) => check.follow(before)?,
            (None, Some(caches)) => caches.believe(&self.context, options, &mut check)?,
            (None, None) => {}
        }
        Ok(check)
    }

    /// The plan of a graph by options less the kernels that are wrong, and what is left of the options.
    fn plan_by(&self, graph: &Graph, options: PlanOptions) -> Result<(PlanOptions, Plan), Error> {
        let _turn = self.turn();
        let plan = Plan::new(graph, &options)?;
        if self.wanted.no_self_check {
            return Ok((options, plan));
        }
        let check = self.check_of(graph, &options, &plan)?;
        self.checked_plan(graph, &options, plan, check, None)
    }

    /// What is left of a plan and its options after a check; if the network was compared, with its difference from
    /// what the CPU computes.
    fn checked_plan(
        &self,
        graph: &Graph,
        options: &PlanOptions,
        plan: Plan,
        mut check: Check,
        difference: Option<f32>,
    ) -> Result<(PlanOptions, Plan), Error> {
        let start = Instant::now();
        let left = check.left();
        // One of those that are known to be right is checked each time, which nobody notices.
        if left > 1 {
            say_what_is_new(&format!("{left} kinds of layers are"));
        }
        let known = self.wrong();
        let result = check.run(&self.context);
        let ms = start.elapsed().as_secs_f64() * 1e3;
        log::debug!("{left} kinds of layers were checked in {ms:.0} ms");
        for kernel in check.wrong() {
            if !known.contains(kernel) {
                log::warn!("{kernel}: it is not used");
            }
        }
        let right = check.options().clone();
        if let (Ok(()), Some(difference)) = (&result, difference)
            && right == *options
        {
            if difference > ROUNDING {
                // Nothing of that is to be believed later.
                let last = graph.nodes().last();
                return Err(Error::WrongKernel {
                    node: last.map_or_else(String::new, |node| node.name.clone()),
                    kernel: "one that is right on small images".to_owned(),
                });
            }
            check.know();
        }
        // What leaves no kernel for a layer is found anew each time.
        let news = (left > 0 || difference.is_some()) && result.is_ok();
        self.keep(check, news.then_some(options));
        result?;
        let plan = if right == *options {
            plan
        } else {
            Plan::new(graph, &right)?
        };
        Ok((right, plan))
    }

    /// Held while something is checked: threads that want the same wait, and believe it.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checked(&self) -> MutexGuard<'_, Option<Check>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kernels that were found to be wrong.
    pub fn wrong(&self) -> Vec<WrongKernel> {
        self.checked()
            .as_ref()
            .map_or_else(Vec::new, |check| check.wrong().to_vec())
    }
}
