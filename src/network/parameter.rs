//! The parameters that a layer may have.

/// What a parameter does in its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parameter {
    /// Kernel of a convolution (OIHW) or matrix of a linear layer (`[out, in]`).
    Weight,
    /// Bias of a convolution or linear layer.
    Bias,
    /// Scale of a batch normalisation.
    Gamma,
    /// Shift of a batch normalisation.
    Beta,
    /// Running mean of a batch normalisation.
    Mean,
    /// Running variance of a batch normalisation.
    Variance,
    /// Fixed filter of a blur pool.
    Filter,
    /// What an attention pool adds to each pixel.
    Positions,
}

impl Parameter {
    /// The name in PyTorch files, which graph parameters use too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weight | Self::Gamma => "weight",
            Self::Bias | Self::Beta => "bias",
            Self::Mean => "running_mean",
            Self::Variance => "running_var",
            Self::Filter => "filt",
            Self::Positions => "positional_embedding",
        }
    }

    /// Splits the name of a Keras tensor into its layer and the parameter that it names.
    pub fn of_keras(name: &str) -> Option<(&str, Self)> {
        let (layer, name) = name.rsplit_once('/')?;
        let all = [
            Self::Weight,
            Self::Bias,
            Self::Gamma,
            Self::Beta,
            Self::Mean,
            Self::Variance,
        ];
        let found = all.into_iter().find(|one| one.keras_name() == name)?;
        Some((layer, found))
    }

    /// The name in Keras files.
    pub const fn keras_name(self) -> &'static str {
        match self {
            Self::Weight => "kernel",
            Self::Bias => "bias",
            Self::Gamma => "gamma",
            Self::Beta => "beta",
            Self::Mean => "moving_mean",
            Self::Variance => "moving_variance",
            Self::Filter => "filter",
            Self::Positions => "positions",
        }
    }
}
