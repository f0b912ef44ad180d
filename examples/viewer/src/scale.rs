//! The colours of the heat map.

use resnet_wgpu::gpu::Colors;

/// Those of the library's colour scales that suit a map over a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Ember,
    Viridis,
    Spotlight,
}

impl Scale {
    pub(crate) const ALL: [Self; 3] = [Self::Ember, Self::Viridis, Self::Spotlight];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ember => "Ember",
            Self::Viridis => "Viridis",
            Self::Spotlight => "Spotlight",
        }
    }

    pub(crate) const fn colors(self) -> Colors {
        match self {
            Self::Ember => Colors::Ember,
            Self::Viridis => Colors::Viridis,
            Self::Spotlight => Colors::Spotlight,
        }
    }
}
