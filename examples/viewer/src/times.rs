//! Where the time of a frame goes.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use resnet_wgpu::wgpu;

/// Measurements that may be on their way at once.
const IN_FLIGHT: usize = 4;

/// The marks of a frame: its start, its picture, its network.
const MARKS: u32 = 3;

const BYTES: u64 = MARKS as u64 * size_of::<u64>() as u64;

/// What the network did in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Labels alone.
    Labels,
    /// Labels and the heat map.
    Mapped,
}

/// Milliseconds: the median of the latest ones, so that the digits are readable, and what a driver
/// compiles at its first use does not count.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recent(VecDeque<f64>);

impl Recent {
    /// Measurements that are remembered.
    const COUNT: usize = 15;

    pub(crate) fn add(&mut self, milliseconds: f64) {
        if self.0.len() == Self::COUNT {
            self.0.pop_front();
        }
        self.0.push_back(milliseconds);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// `None` before the first.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        // The lower one of two: of a first and a later one, the later.
        sorted.get(sorted.len().checked_sub(1)? / 2).copied()
    }
}

/// The parts of a frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Times {
    /// Drawing the scene, or reading a picture and uploading it.
    pub(crate) picture: Recent,
    /// The network without a heat map, and with it.
    labels: Recent,
    mapped: Recent,
    /// From one frame to the next, while frames go on.
    pub(crate) frame: Recent,
}

impl Times {
    /// Takes in what a frame took on the GPU: its picture, and its network.
    fn add(&mut self, run: Option<Run>, [picture, network]: [f64; 2], draws: bool) {
        if draws {
            self.picture.add(picture);
        }
        match run {
            Some(Run::Labels) => self.labels.add(network),
            Some(Run::Mapped) => self.mapped.add(network),
            None => {}
        }
    }

    pub(crate) fn network(&self) -> Option<f64> {
        self.labels.median()
    }

    /// What the heat map takes beyond the network.
    pub(crate) fn map(&self) -> Option<f64> {
        let (mapped, labels) = self.mapped.median().zip(self.labels.median())?;
        Some((mapped - labels).max(0.0))
    }

    /// What is left of a frame: the interface, the window, waiting for the screen.
    pub(crate) fn rest(&self) -> Option<f64> {
        let known = [self.picture.median(), self.network(), self.map()];
        let known: f64 = known.iter().flatten().sum();
        let frame = self.frame.median();
        frame.map(|frame| (frame - known).max(0.0))
    }
}

/// Marks the time in the frames' own encoders.
#[derive(Debug)]
pub(crate) struct Timer {
    marks: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// Nanoseconds of a tick.
    period: f64,
    free: Vec<wgpu::Buffer>,
    in_flight: Vec<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    buffer: wgpu::Buffer,
    mapped: Receiver<Result<(), wgpu::BufferAsyncError>>,
    run: Option<Run>,
    draws: bool,
}

/// What a device needs for a timer.
pub(crate) const FEATURES: wgpu::Features =
    wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

impl Timer {
    /// `None` if the device has no clock.
    pub(crate) fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Option<Self> {
        if !device.features().contains(FEATURES) {
            return None;
        }
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("times"),
                size: BYTES,
                usage,
                mapped_at_creation: false,
            })
        };
        use wgpu::BufferUsages as Usage;
        Some(Self {
            marks: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("times"),
                ty: wgpu::QueryType::Timestamp,
                count: MARKS,
            }),
            resolved: buffer(Usage::QUERY_RESOLVE | Usage::COPY_SRC),
            period: f64::from(queue.get_timestamp_period()),
            free: (0..IN_FLIGHT)
                .map(|_| buffer(Usage::MAP_READ | Usage::COPY_DST))
                .collect(),
            in_flight: Vec::new(),
        })
    }

    /// Marks the start of a frame (0), the end of its picture (1), or that of its network (2).
    pub(crate) fn mark(&self, encoder: &mut wgpu::CommandEncoder, index: u32) {
        encoder.write_timestamp(&self.marks, index);
    }

    /// Sends the marks of a frame on their way, once all are recorded.
    pub(crate) fn send(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        run: Option<Run>,
        draws: bool,
    ) {
        let Some(buffer) = self.free.pop() else {
            return;
        };
        encoder.resolve_query_set(&self.marks, 0..MARKS, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &buffer, 0, BYTES);
        let (sender, mapped) = channel();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |granted| {
            // Nobody waits for it if the timer is gone.
            let _ = sender.send(granted);
        });
        self.in_flight.push(InFlight {
            buffer,
            mapped,
            run,
            draws,
        });
    }

    /// Lets go of what is on its way: it is of another picture or network.
    pub(crate) fn forget(&mut self) {
        for sent in &mut self.in_flight {
            (sent.run, sent.draws) = (None, false);
        }
    }

    /// Takes in the marks that have arrived.
    pub(crate) fn receive(&mut self, times: &mut Times) {
        for sent in std::mem::take(&mut self.in_flight) {
            match sent.mapped.try_recv() {
                Err(TryRecvError::Empty) => self.in_flight.push(sent),
                Ok(Ok(())) => {
                    if let Some(parts) = self.parts(&sent.buffer) {
                        times.add(sent.run, parts, sent.draws);
                    }
                    sent.buffer.unmap();
                    self.free.push(sent.buffer);
                }
                // A lost device shows itself elsewhere.
                Ok(Err(_)) | Err(TryRecvError::Disconnected) => {}
            }
        }
    }

    /// The milliseconds between the marks.
    fn parts(&self, buffer: &wgpu::Buffer) -> Option<[f64; 2]> {
        let bytes = buffer.get_mapped_range(..).ok()?;
        let ticks: Vec<u64> = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&tick| u64::from_le_bytes(tick))
            .collect();
        let between = |i: usize| {
            let ticks = ticks[i + 1].saturating_sub(ticks[i]);
            ticks as f64 * self.period / 1e6
        };
        Some([between(0), between(1)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_frame_add_up_to_it() {
        let mut times = Times::default();
        times.add(Some(Run::Mapped), [4.0, 30.0], true);
        assert_eq!(times.map(), None, "nothing to compare it with");
        times.add(Some(Run::Labels), [4.0, 10.0], true);
        times.frame.add(50.0);
        let parts = [
            times.picture.median(),
            times.network(),
            times.map(),
            times.rest(),
        ];
        assert_eq!(parts, [4.0, 10.0, 20.0, 16.0].map(Some), "parts");
        times.add(None, [9.0, 0.0], false);
        assert_eq!(
            times.picture.median(),
            Some(4.0),
            "a frame that draws no picture"
        );
    }

    #[test]
    fn a_first_slow_measurement_does_not_count() {
        let mut recent = Recent::default();
        assert_eq!(recent.median(), None, "none");
        recent.add(5000.0);
        recent.add(3.0);
        assert_eq!(recent.median(), Some(3.0), "of two");
        for _ in 0..20 {
            recent.add(4.0);
        }
        assert_eq!(recent.median(), Some(4.0), "of the latest");
        assert_eq!(recent.0.len(), Recent::COUNT, "remembered");
    }
}
