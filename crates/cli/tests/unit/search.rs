//! Tests of `search.rs` that need its private parts. They need an adapter.

use std::path::Path;

use resnet_run::DeviceOptions;

use super::*;

/// An index of these vectors.
fn written(file: &Path, rows: [[f32; 4]; 3]) -> Result<Index, Failure> {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n";
    let length = u16::try_from(header.len()).expect("it is short");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(rows.as_flattened().iter().flat_map(|x| x.to_le_bytes()));
    std::fs::write(file, bytes).expect("written");
    Index::read(file)
}

#[test]
fn an_index_of_what_are_no_features_is_refused_with_its_row() {
    let folder = tempfile::tempdir().expect("a folder");
    for odd in [f32::NAN, f32::INFINITY, -1e30] {
        let rows = [[1.0; 4], [0.0, odd, 0.0, 0.0], [1.0; 4]];
        let refused = written(&folder.path().join("index.npy"), rows);
        let message = refused.err().and_then(Failure::into_message);
        let message = message.expect("it is refused");
        assert!(message.contains("row 1 has numbers"), "{odd}: {message}");
    }
}

#[test]
fn a_device_that_is_lost_leaves_the_search_to_the_cpu() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("index.npy");
    let rows = [
        [1.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
    ];
    let index = written(&file, rows).expect("an index");

    let device = Device::open(DeviceOptions {
        cache_dir: Some(folder.path().to_owned()),
        ..DeviceOptions::default()
    });
    let device = device.expect("a device");
    let Device::Gpu(gpu) = &device else {
        panic!("an adapter is needed");
    };
    let mut vectors = Vectors::new(&device, &index, 2).expect("vectors");
    let mut nearest = || {
        let found = vectors.nearest(&[2.0, 1.0, 0.0, 0.0]);
        let near = |(row, cosine): (usize, f32)| (row, (cosine * 1e4).round());
        (
            found.into_iter().map(near).collect::<Vec<_>>(),
            vectors.on_gpu.is_some(),
        )
    };
    let want = vec![(1, 9487.0), (0, 8944.0)];
    assert_eq!(nearest(), (want.clone(), true), "on the GPU");
    gpu.context.device.destroy();
    assert_eq!(nearest(), (want.clone(), false), "it goes on with the CPU");
    assert_eq!(nearest(), (want, false), "and stays there");
}
