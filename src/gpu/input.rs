//! The inputs of a run: uploaded data, a buffer of the host, or textures of the host.

use std::sync::Arc;

use super::Executor;
use super::dispatch::Dispatch;
use super::resources::{create_scratch, create_table};
use super::texture::{TextureRead, TextureRect, refuse};
use crate::error::Error;
use crate::kernels::resample::{self, Passes, Source};
use crate::kernels::{Launch, resample_columns, resample_rows};
use crate::picture::resample::fit;
use crate::picture::{ChannelOrder, Preprocess};
use crate::plan::InputFormat;

/// The input of a run of an [`Executor`]. It is created once and recorded as often as needed;
/// clones share it.
#[derive(Clone, Debug, Default)]
pub struct Input(Option<Arc<Made>>);

#[derive(Debug)]
struct Made {
    /// The id of the executor that it belongs to.
    owner: u64,
    copy: Option<HostCopy>,
    /// Two per image: the horizontal and the vertical pass.
    dispatches: Vec<Dispatch>,
    images: Vec<Image>,
}

/// A copy of the host's buffer to the executor's.
#[derive(Debug)]
struct HostCopy {
    from: wgpu::Buffer,
    to: wgpu::Buffer,
}

/// What is needed to read the same part of another texture.
#[derive(Clone, Debug)]
struct Image {
    /// One, or those of the planes of a video.
    views: Vec<HostView>,
    rules: Preprocess,
    first_pixel: usize,
    launch: Launch,
    /// Along the rows, and along the columns; with room for any part of the view.
    tables: [wgpu::Buffer; 2],
    between: wgpu::Buffer,
}

/// A view that is read, and what another in its place must match.
#[derive(Clone, Debug)]
struct HostView {
    read: TextureRead,
    format: wgpu::TextureFormat,
    size: [u32; 2],
}

impl HostView {
    fn of(view: &wgpu::TextureView, read: TextureRead) -> Self {
        Self {
            read,
            format: view.texture().format(),
            size: read.size(view),
        }
    }
}

impl Input {
    /// Reads what was written to [`Executor::input`] beforehand, in any way.
    pub fn uploaded() -> Self {
        Self::default()
    }

    /// Reads the same parts of other textures: as many views per image of the batch, of textures
    /// of the same size and format as before. It creates views and a bind group per image and nothing else.
    ///
    /// # Errors
    /// [`Error::Texture`] if the views do not match; [`Error::Recording`] if the input does not
    /// read textures, or belongs to another executor.
    pub fn with_views(
        &self,
        device: &wgpu::Device,
        executor: &Executor,
        views: &[&wgpu::TextureView],
    ) -> Result<Self, Error> {
        let made = match &self.0 {
            Some(made) if made.owner == executor.id && made.views() == views.len() => made,
            _ => {
                return Err(Error::Recording {
                    reason: format!(
                        "{} views cannot replace those of an input that was made of other things, \
                         of another number of them, or for another executor",
                        views.len()
                    ),
                });
            }
        };
        let mut dispatches = made.dispatches.clone();
        let mut views = views;
        for (index, image) in made.images.iter().enumerate() {
            let (of_image, others) = views.split_at(image.views.len());
            views = others;
            let pairs = of_image.iter().zip(&image.views);
            let reads: Vec<_> = pairs
                .clone()
                .map(|(view, known)| (*view, known.read))
                .collect();
            check(&reads)?;
            for (view, known) in pairs {
                let HostView { size, format, .. } = HostView::of(view, known.read);
                if size != known.size || format != known.format {
                    return Err(refuse(format!(
                        "image {index}: {size:?} rows and columns of {format:?} cannot replace {:?} \
                         of {:?}; make another input",
                        known.size, known.format
                    )));
                }
            }
            dispatches[2 * index] = image.dispatch(device, executor, of_image)?;
        }
        Ok(Self(Some(Arc::new(Made {
            owner: made.owner,
            copy: None,
            dispatches,
            images: made.images.clone(),
        }))))
    }

    /// Moves the part of the texture that an image of the batch is made of, to any place and size, such
    /// as the box of a detector in each frame. It makes nothing: two small tables are written by the
    /// queue, for all runs of the host's next submission, and for inputs that [`Self::with_views`] made
    /// of this one.
    ///
    /// # Errors
    /// [`Error::Texture`] for a rectangle that is empty or not within the texture, [`Error::Preprocess`]
    /// for one that would get margins; [`Error::Recording`] if the input does not read textures, or not
    /// as many.
    pub fn set_rect(
        &self,
        queue: &wgpu::Queue,
        image: usize,
        rect: TextureRect,
    ) -> Result<(), Error> {
        let images = self.0.as_ref().map_or(&[][..], |made| &made.images);
        let Some(image) = images.get(image) else {
            return Err(Error::Recording {
                reason: format!(
                    "there is no image {image}, the input reads {}",
                    images.len()
                ),
            });
        };
        let view = &image.views[0];
        let (source, size) = view.read.at(rect).source(view.size, view.format)?;
        let Passes { rows, columns } = passes(source, size, &image.rules, image.first_pixel)?;
        for (buffer, table) in image.tables.iter().zip([rows, columns]) {
            let bytes: &[u8] = bytemuck::cast_slice(&table);
            if bytes.len() as u64 > buffer.size() {
                return Err(Error::Texture {
                    reason: format!("{rect:?} needs larger tables; make another input"),
                });
            }
            queue.write_buffer(buffer, 0, bytes);
        }
        Ok(())
    }

    pub(super) fn owner(&self) -> Option<u64> {
        self.0.as_ref().map(|made| made.owner)
    }

    pub(super) fn dispatches(&self) -> &[Dispatch] {
        self.0.as_ref().map_or(&[], |made| &made.dispatches)
    }

    pub(super) fn record_copy(&self, encoder: &mut wgpu::CommandEncoder) {
        if let Some(copy) = self.0.as_ref().and_then(|made| made.copy.as_ref()) {
            encoder.copy_buffer_to_buffer(&copy.from, 0, &copy.to, 0, copy.to.size());
        }
    }
}

impl Made {
    /// The number of views that it reads.
    fn views(&self) -> usize {
        self.images.iter().map(|image| image.views.len()).sum()
    }
}

impl Image {
    /// The horizontal pass over its views.
    fn dispatch(
        &self,
        device: &wgpu::Device,
        executor: &Executor,
        views: &[&wgpu::TextureView],
    ) -> Result<Dispatch, Error> {
        let mut planes = Vec::new();
        for (known, view) in self.views.iter().zip(views) {
            planes.extend(known.read.views(device, view)?);
        }
        let helper = &executor.helpers.resample_rows[planes.len() - 1];
        // What the kernel does not read is bound, too.
        let plane = |index: usize| planes.get(index).unwrap_or(&planes[0]);
        let dispatch = Dispatch::new(
            device,
            "resample rows",
            &self.launch,
            helper.get(device, &self.launch)?,
            [
                wgpu::BindingResource::TextureView(plane(0)),
                wgpu::BindingResource::TextureView(plane(1)),
                wgpu::BindingResource::TextureView(plane(2)),
                self.tables[0].as_entire_binding(),
                self.between.as_entire_binding(),
            ],
        );
        dispatch.map_err(|error| match error {
            // wgpu does not tell the dimension of a view.
            Error::Gpu { reason, .. } if views.iter().any(has_layers) => refuse(format!(
                "a view must be of one layer or face, with `dimension: D2`, \
                 `base_array_layer` and `array_layer_count: 1` ({reason})"
            )),
            error => error,
        })
    }
}

fn has_layers(view: &&wgpu::TextureView) -> bool {
    view.texture().depth_or_array_layers() > 1
}

/// Checks the views of an image.
fn check(views: &[(&wgpu::TextureView, TextureRead)]) -> Result<(), Error> {
    let (view, read) = &views[0];
    read.check(view)?;
    let mut chroma = views[1..].iter();
    chroma.try_for_each(|(chroma, chroma_read)| {
        chroma_read.check_chroma(chroma, (read, view), views.len() == 3)
    })
}

/// The views of each image.
fn by_image<'a, 'v>(
    mut views: &'a [(&'v wgpu::TextureView, TextureRead)],
) -> Result<Vec<&'a [(&'v wgpu::TextureView, TextureRead)]>, Error> {
    let mut images = Vec::with_capacity(views.len());
    while let Some((_, read)) = views.first() {
        let (count, _) = read.views_and_planes(views);
        let Some((image, others)) = views.split_at_checked(count) else {
            return Err(refuse(format!(
                "{:?} needs {count} views, luma and after it chroma; the last one has no chroma or not all",
                read.encoding
            )));
        };
        images.push(image);
        views = others;
    }
    Ok(images)
}

/// The tables for a part of a texture, given its rows and columns.
fn passes(
    source: Source,
    size: [usize; 2],
    rules: &Preprocess,
    first_pixel: usize,
) -> Result<Passes, Error> {
    let axes = fit(size, rules);
    if axes.map(|axis| axis.count) != rules.size {
        return Err(Error::Preprocess {
            reason: "a texture cannot get margins; squash or crop it".to_owned(),
        });
    }
    Ok(resample::passes(source, axes, rules.filter, first_pixel))
}

impl Executor {
    /// Creates an input that copies a buffer of the host with the content for [`Executor::input`]:
    /// the channel-packed tensor, or RGBA8 pixels. The buffer has the usage `COPY_SRC`.
    ///
    /// # Errors
    /// [`Error::Input`] if the buffer is too small or lacks the usage.
    pub fn buffer_input(&self, buffer: &wgpu::Buffer) -> Result<Input, Error> {
        let to = self.input().clone();
        if *buffer == to {
            return Err(self.input_error("its own buffer; use `Input::uploaded`".to_owned()));
        }
        if buffer.size() < to.size() {
            return Err(self.input_error(format!("a buffer of {} bytes", buffer.size())));
        }
        if !buffer.usage().contains(wgpu::BufferUsages::COPY_SRC) {
            return Err(self.input_error("a buffer without the usage COPY_SRC".to_owned()));
        }
        Ok(Input(Some(Arc::new(Made {
            owner: self.id,
            copy: Some(HostCopy {
                from: buffer.clone(),
                to,
            }),
            dispatches: Vec::new(),
            images: Vec::new(),
        }))))
    }

    /// Creates an input that reads textures of the host, one view per image of the batch, and
    /// resizes and crops them by the plan's rules, all on the GPU; the pixels equal those of
    /// `picture::Batch::prepare`. The plan must be made for [`InputFormat::Rgba8`].
    ///
    /// An image of [video](super::Encoding) takes one view of both planes, or those of luma and chroma, two or
    /// three; the chroma's format and mip level are what is said with it, and everything else is what is said
    /// with the luma:
    ///
    /// ```
    /// use resnet_wgpu::gpu::{Encoding, Executor, Input, TextureRead};
    /// # use resnet_wgpu::{Error, wgpu};
    ///
    /// fn frame(
    ///     executor: &Executor,
    ///     device: &wgpu::Device,
    ///     [luma, chroma]: [&wgpu::TextureView; 2],
    /// ) -> Result<Input, Error> {
    ///     let mut read = TextureRead::default();
    ///     read.encoding = Encoding::Bt709;
    ///     executor.texture_input(device, &[(luma, read), (chroma, read)])
    /// }
    /// ```
    ///
    /// The textures are read anew in each run. [`Input::with_views`] reads other textures of the
    /// same size.
    ///
    /// # Errors
    /// [`Error::Input`] if the plan does not take pixels of the rules' size, or if the batch size
    /// differs; [`Error::Texture`] if a view cannot be read; [`Error::Preprocess`] if an image
    /// would have to be padded; [`Error::Gpu`] and [`Error::OutOfMemory`] from the device.
    pub fn texture_input(
        &self,
        device: &wgpu::Device,
        views: &[(&wgpu::TextureView, TextureRead)],
    ) -> Result<Input, Error> {
        let InputFormat::Rgba8(rules) = self.input_format() else {
            return Err(self.input_error("textures".to_owned()));
        };
        if rules.channels == ChannelOrder::Grey {
            return Err(Error::Preprocess {
                reason: "a network for grey images takes no textures; give it pixels".to_owned(),
            });
        }
        let shape = self.input_shape();
        let of_images = by_image(views)?;
        if of_images.len() != shape.n || rules.size != [shape.h, shape.w] {
            let [h, w] = rules.size;
            return Err(self.input_error(format!("{} textures for {h}x{w}", of_images.len())));
        }
        let mut images = Vec::with_capacity(shape.n);
        let mut dispatches = Vec::with_capacity(shape.n * 2);
        for (index, planes) in of_images.into_iter().enumerate() {
            let first_pixel = index * shape.h * shape.w;
            let (image, columns) = self.image(device, planes, &rules, first_pixel)?;
            let views: Vec<_> = planes.iter().map(|(view, _)| *view).collect();
            dispatches.extend([image.dispatch(device, self, &views)?, columns]);
            images.push(image);
        }
        Ok(Input(Some(Arc::new(Made {
            owner: self.id,
            copy: None,
            dispatches,
            images,
        }))))
    }

    /// Creates the resources for both passes over any part of an image, and the second pass.
    fn image(
        &self,
        device: &wgpu::Device,
        views: &[(&wgpu::TextureView, TextureRead)],
        rules: &Preprocess,
        first_pixel: usize,
    ) -> Result<(Image, Dispatch), Error> {
        check(views)?;
        let (view, read) = views[0];
        let size = read.size(view);
        let (source, part) = read.source(size, view.texture().format())?;
        let passes = passes(source, part, rules, first_pixel)?;
        let [height, width] = size.map(|side| side as usize);
        let [rows_room, columns_room] = resample::room([height, width], rules);
        let table = |name: &str, mut table: Vec<i32>, room: usize| {
            table.resize(room.max(table.len()), 0);
            create_table(device, name, &table)
        };
        let bytes = (height * rules.size[1]) as u64 * 4;
        let none = wgpu::BufferUsages::empty();
        let (_, planes) = read.views_and_planes(views);
        let views = views.iter().map(|(view, read)| HostView::of(view, *read));
        let image = Image {
            views: views.collect(),
            rules: *rules,
            first_pixel,
            // As many rows as any part may need: those that the table leaves out end at once.
            launch: resample_rows::launch([height, rules.size[1]], planes),
            tables: [
                table("resample rows table", passes.rows, rows_room)?,
                table("resample columns table", passes.columns, columns_room)?,
            ],
            between: create_scratch(device, "resampled rows", bytes, none)?,
        };
        let launch = resample_columns::launch(rules.size);
        let dispatch = Dispatch::new(
            device,
            "resample columns",
            &launch,
            self.helpers.resample_columns.get(device, &launch)?,
            [&image.between, &image.tables[1], self.input()].map(wgpu::Buffer::as_entire_binding),
        )?;
        Ok((image, dispatch))
    }
}
