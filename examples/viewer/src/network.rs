//! A network on the device of the interface: labels in every run, and a heat map where it is wanted.

use std::path::Path;

use resnet_wgpu::Error;
use resnet_wgpu::gpu::{Answer, Classifier, Context, HeatMap, Prewarm, TextureRead};
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::picture::Preprocess;
use resnet_wgpu::wgpu;

use crate::scale::Scale;
use crate::times::Run;

/// The smallest side of the heat map in pixels: a network for small pictures has a smooth one, too.
const MAP_SIDE: u32 = 128;

/// A network that can run, once its pipelines are warm.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) name: String,
    /// `None` for networks that give vectors only.
    pub(crate) classes: Option<usize>,
    rules: Preprocess,
    labels: Classifier,
    /// The same with a heat map, on the same weights; `None` without classes.
    mapped: Option<Classifier>,
    map: wgpu::Texture,
    /// What remains to be compiled.
    warming: Vec<Prewarm>,
    latest: Option<Run>,
    /// Runs whose answers are on their way.
    pending: usize,
}

impl Network {
    /// Reads and builds a network; takes seconds, and is for a thread.
    pub(crate) fn open(
        context: &Context,
        path: &Path,
        step: &dyn Fn(&'static str),
    ) -> Result<Self, Error> {
        step("Reading the weights");
        let options = ModelOptions::default();
        let network = resnet_formats::open(path, &options)?;
        step("Building the network");
        let model = network.model(&options)?;
        let labels = Classifier::builder(&network).build(context)?;
        let mapped = match model.classes {
            Some(_) => {
                let builder = Classifier::builder(&network).heat_map(HeatMap::default());
                Some(builder.build(context)?)
            }
            None => None,
        };
        Ok(Self {
            name: path
                .file_name()
                .unwrap_or(path.as_os_str())
                .display()
                .to_string(),
            classes: model.classes,
            rules: model.preprocess,
            labels,
            mapped,
            map: map_texture(&context.device, model.preprocess.size),
            warming: Vec::new(),
            latest: None,
            pending: 0,
        })
    }

    /// Paints the map in these colours from now on, and lists what is to be compiled for this picture.
    pub(crate) fn prepare(
        &mut self,
        picture: &wgpu::TextureView,
        scale: Scale,
    ) -> Result<(), Error> {
        self.paint(scale)?;
        let views = [(picture, TextureRead::default())];
        self.warming = vec![self.labels.prewarm(&views)?];
        if let Some(mapped) = &mut self.mapped {
            self.warming.push(mapped.prewarm(&views)?);
        }
        Ok(())
    }

    /// Changes the colours of the map, from the next run on.
    pub(crate) fn paint(&mut self, scale: Scale) -> Result<(), Error> {
        let Some(mapped) = &mut self.mapped else {
            return Ok(());
        };
        let mut how = HeatMap::default();
        how.colors = scale.colors();
        // As egui blends.
        how.premultiplied = true;
        mapped.paint(&self.map, &how)
    }

    /// Pipelines that were warmed, and all of them.
    pub(crate) fn warmth(&self) -> (usize, usize) {
        let parts = self.warming.iter().map(Prewarm::progress);
        parts.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    /// Records a few pipelines more, and returns whether all are warm.
    pub(crate) fn warm(&mut self, encoder: &mut wgpu::CommandEncoder, count: usize) -> bool {
        let cold = |part: &&mut Prewarm| part.progress().0 < part.progress().1;
        if let Some(part) = self.warming.iter_mut().find(cold) {
            part.record(encoder, count);
        }
        let (done, all) = self.warmth();
        done == all
    }

    /// Whether it can paint a map.
    pub(crate) const fn has_map(&self) -> bool {
        self.mapped.is_some()
    }

    /// Records a run on a picture. The host submits, and polls its device now and then.
    pub(crate) fn record(
        &mut self,
        run: Run,
        encoder: &mut wgpu::CommandEncoder,
        picture: &wgpu::TextureView,
    ) -> Result<(), Error> {
        let classifier = match (run, &mut self.mapped) {
            (Run::Mapped, Some(mapped)) => mapped,
            _ => &mut self.labels,
        };
        self.pending += usize::from(classifier.record(encoder, picture)?.is_some());
        self.latest = Some(run);
        Ok(())
    }

    /// The latest answer that has arrived.
    pub(crate) fn receive(&mut self) -> Result<Option<Answer>, Error> {
        let mut latest = None;
        for classifier in [Some(&self.labels), self.mapped.as_ref()]
            .into_iter()
            .flatten()
        {
            while let Some(answer) = classifier.poll()? {
                self.pending = self.pending.saturating_sub(1);
                latest = Some(answer);
            }
        }
        Ok(latest)
    }

    /// Whether answers are on their way.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.pending > 0
    }

    /// The texture of the map: premultiplied, as egui blends.
    pub(crate) const fn map(&self) -> &wgpu::Texture {
        &self.map
    }

    /// Left, top, right and bottom of what the network sees of a picture, in parts of its size.
    pub(crate) fn seen(&self, [height, width]: [usize; 2]) -> [f32; 4] {
        let [rows, columns] = self.rules.seen([height, width]);
        [
            columns.start as f32 / width as f32,
            rows.start as f32 / height as f32,
            columns.end as f32 / width as f32,
            rows.end as f32 / height as f32,
        ]
    }
}

/// A texture as egui shows it, with numbers as they are in files of pictures.
pub(crate) fn texture(
    device: &wgpu::Device,
    label: &str,
    [width, height]: [u32; 2],
    usage: wgpu::TextureUsages,
) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some(label),
        size: wgpu::Extent3d {
            width,
            height,
            depth_or_array_layers: 1,
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: usage | wgpu::TextureUsages::TEXTURE_BINDING,
        view_formats: &[],
    })
}

fn map_texture(device: &wgpu::Device, [height, width]: [usize; 2]) -> wgpu::Texture {
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let (width, height) = (side(width), side(height));
    let times = MAP_SIDE.div_ceil(width.min(height).max(1));
    let size = [width * times, height * times];
    let usage = wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::COPY_SRC;
    texture(device, "heat map", size, usage)
}
