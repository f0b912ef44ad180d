//! The colours of the heat map.

use resnet_wgpu::gpu::Colors;

/// A colour scale, from what says nothing to what says most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Clear, then red, orange and yellow: the picture stays visible where nothing speaks.
    Ember,
    /// Violet, blue, green, yellow: as readable for the colour-blind, and in print.
    Viridis,
    /// Dark, then clear: what speaks most is seen as it is.
    Spotlight,
}

/// A value, and its colour: red, green, blue and alpha.
type Stop = (f32, [f32; 4]);

impl Scale {
    pub(crate) const ALL: [Self; 3] = [Self::Ember, Self::Viridis, Self::Spotlight];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ember => "Ember",
            Self::Viridis => "Viridis",
            Self::Spotlight => "Spotlight",
        }
    }

    const fn stops(self) -> &'static [Stop] {
        match self {
            Self::Ember => &[
                (0.0, [200.0, 20.0, 30.0, 0.0]),
                (0.35, [225.0, 30.0, 20.0, 58.0]),
                (0.7, [255.0, 120.0, 10.0, 116.0]),
                (1.0, [255.0, 205.0, 40.0, 165.0]),
            ],
            Self::Viridis => &[
                (0.0, [68.0, 1.0, 84.0, 165.0]),
                (0.25, [59.0, 82.0, 139.0, 165.0]),
                (0.5, [33.0, 145.0, 140.0, 165.0]),
                (0.75, [94.0, 201.0, 98.0, 165.0]),
                (1.0, [253.0, 231.0, 37.0, 165.0]),
            ],
            Self::Spotlight => &[
                (0.0, [8.0, 9.0, 12.0, 235.0]),
                (0.4, [8.0, 9.0, 12.0, 190.0]),
                (0.8, [8.0, 9.0, 12.0, 0.0]),
                (1.0, [8.0, 9.0, 12.0, 0.0]),
            ],
        }
    }

    /// The colour of a value from 0 to 1, alpha last.
    pub(crate) fn color(self, value: f32) -> [u8; 4] {
        let stops = self.stops();
        let next = stops.partition_point(|&(at, _)| at < value);
        let (low, high) = (
            stops[next.saturating_sub(1)],
            stops[next.min(stops.len() - 1)],
        );
        let part = if high.0 > low.0 {
            (value - low.0) / (high.0 - low.0)
        } else {
            0.0
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean of bytes is a byte"
        )]
        std::array::from_fn(|i| (low.1[i] + part * (high.1[i] - low.1[i])).round() as u8)
    }

    /// All colours, as the library paints them.
    pub(crate) fn table(self) -> Colors {
        let of = |i: usize| self.color(i as f32 / 255.0);
        Colors::Table(Box::new(std::array::from_fn(of)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_begins_and_ends_with_its_stops_and_has_no_steps() {
        for scale in Scale::ALL {
            let Colors::Table(table) = scale.table() else {
                panic!("{scale:?} is no table");
            };
            let ends = [table[0], table[255]];
            let stops = [scale.stops()[0], scale.stops()[scale.stops().len() - 1]];
            assert_eq!(
                ends.map(|c| c.map(f32::from)),
                stops.map(|(_, c)| c),
                "{scale:?}"
            );
            for pair in table.windows(2) {
                let step = (0..4).map(|i| pair[0][i].abs_diff(pair[1][i])).max();
                assert!(
                    step <= Some(8),
                    "{scale:?}: from {:?} to {:?}",
                    pair[0],
                    pair[1]
                );
            }
        }
    }
}
