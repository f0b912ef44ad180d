//! Weight files as assets.

use std::sync::Arc;

use bevy::asset::io::Reader;
use bevy::asset::{AssetLoader, LoadContext};
use bevy::prelude::*;
use resnet_wgpu::Error;
use resnet_wgpu::network::{ModelOptions, Network};

/// A network as its file describes it, which any number of [`Classify`](crate::Classify) share.
#[derive(Asset, Clone, Debug, TypePath)]
pub struct ResnetNetwork(pub Arc<Network>);

impl From<Network> for ResnetNetwork {
    fn from(network: Network) -> Self {
        Self(Arc::new(network))
    }
}

/// Loads weight files: safetensors, PyTorch's, Keras's, ONNX.
#[derive(Debug, Default, TypePath)]
pub struct ResnetLoader;

/// Why a weight file was not loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// It cannot be read.
    Read(std::io::Error),
    /// It is no network that is understood.
    Network(Error),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Network(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

impl AssetLoader for ResnetLoader {
    type Asset = ResnetNetwork;
    type Settings = ();
    type Error = LoadError;

    async fn load(
        &self,
        reader: &mut dyn Reader,
        (): &Self::Settings,
        load_context: &mut LoadContext<'_>,
    ) -> Result<ResnetNetwork, LoadError> {
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .await
            .map_err(LoadError::Read)?;
        let name = load_context.path().to_string();
        let network = resnet_formats::from_bytes(&name, bytes, &ModelOptions::default());
        network.map(ResnetNetwork::from).map_err(LoadError::Network)
    }

    fn extensions(&self) -> &[&str] {
        &["safetensors", "pth", "pt", "onnx", "keras", "h5"]
    }
}
