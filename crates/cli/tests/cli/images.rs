//! `classify`, `embed` and `cam`: images in, results out.

use super::*;

#[test]
fn bad_images_among_good_ones_are_reported_and_the_others_answered() {
    let folder = pictures();
    let bad = file(&folder, "bad.jpg", "no image");
    let missing = folder.path().join("missing.png");
    let images = ["classify", path(folder.path()), path(&missing)];
    let json = ["--format", "json", "--top", "3", "--batch", "2"];
    let run = Run::new(&[&images, &TINY, &ON_CPU, &json])
        .ends_with(1)
        .complains_of(path(&bad))
        .complains_of(path(&missing));
    let json = run.json();
    let names: Vec<&str> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["image"].as_str().unwrap())
        .collect();
    let expected = ["a.png", "b.PNG", "c.jpg"].map(|name| folder.path().join(name));
    assert_eq!(
        names,
        expected.each_ref().map(|p| path(p)),
        "sorted, without the bad ones"
    );
    assert_eq!(
        json["errors"].as_array().unwrap().len(),
        2,
        "{}",
        json["errors"]
    );
    for result in json["results"].as_array().unwrap() {
        let top = result["top"].as_array().unwrap();
        let probabilities: Vec<f64> = top
            .iter()
            .map(|guess| guess["probability"].as_f64().unwrap())
            .collect();
        assert!(
            probabilities.is_sorted_by(|a, b| a >= b),
            "{probabilities:?}"
        );
        assert_eq!(top.len(), 3, "top");
        assert!(
            top[0]["class"].is_u64() && top[0]["logit"].is_f64(),
            "{}",
            top[0]
        );
        assert!(top[0]["label"].is_string(), "{}", top[0]);
    }
    for field in ["adapter", "model", "timings"] {
        assert!(json[field].is_object(), "{field}");
    }
    assert_eq!(json["model"]["size"], serde_json::json!([32, 32]), "size");
}

#[test]
fn folders_within_folders_are_searched_if_that_is_asked_for() {
    let folder = pictures();
    let below = folder.path().join("b/below");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::copy(folder.path().join("a.png"), below.join("deep.png")).unwrap();
    let csv = [
        "classify",
        path(folder.path()),
        "--format",
        "csv",
        "--top",
        "1",
    ];
    let images = |more: &[&str]| -> Vec<String> {
        let run = Run::new(&[&csv, more, &TINY, &ON_CPU]).ends_with(0);
        let lines = run.stdout.lines().skip(1);
        lines
            .map(|line| line.split(',').next().unwrap().to_owned())
            .collect()
    };
    let name = |name: &str| path(&folder.path().join(name)).to_owned();
    let flat = ["a.png", "b.PNG", "c.jpg"].map(name);
    assert_eq!(images(&[]), flat, "the folder alone");
    let all = ["a.png", "b/below/deep.png", "b.PNG", "c.jpg"].map(name);
    let mut found = images(&["-r"]);
    assert_eq!(found.len(), 4, "{found:?}");
    found.sort();
    let mut all = all.to_vec();
    all.sort();
    assert_eq!(found, all, "and what is below it");
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_in_a_folder_is_an_image_that_cannot_be_read() {
    let folder = pictures();
    std::os::unix::fs::symlink("nowhere.png", folder.path().join("link.png")).unwrap();
    let run = Run::new(&[&["classify", path(folder.path())], &TINY, &ON_CPU]).ends_with(1);
    assert!(run.stderr.contains("link.png"), "{}", run.stderr);
    assert!(run.stdout.contains("a.png"), "{}", run.stdout);
}

#[test]
fn an_image_that_is_cut_off_is_taken_only_if_that_is_asked_for() {
    let folder = pictures();
    let whole = std::fs::read(folder.path().join("a.png")).unwrap();
    let cut = folder.path().join("cut.png");
    std::fs::write(&cut, &whole[..whole.len() * 2 / 3]).unwrap();
    let classify = ["classify", path(&cut)];
    Run::new(&[&classify, &TINY, &ON_CPU])
        .ends_with(1)
        .complains_of("--allow-truncated");
    Run::new(&[&classify, &TINY, &ON_CPU, &["--allow-truncated"]]).ends_with(0);
}

/// The image of each result, in batches of two.
fn classified(arguments: &[&str], code: i32) -> (Vec<String>, Run) {
    let flags = ["--format", "jsonl", "--top", "1", "--batch", "2"];
    let run = Run::new(&[&["classify"], arguments, &TINY, &ON_CPU, &flags]).ends_with(code);
    let images = run.stdout.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["image"].as_str().unwrap().to_owned()
    });
    (images.collect(), run)
}

#[test]
fn patterns_are_what_a_shell_would_make_of_them() {
    let folder = pictures();
    let at = |name: &str| path(&folder.path().join(name)).to_owned();
    std::fs::create_dir_all(folder.path().join("deep/er")).unwrap();
    for copy in ["deep/d.png", "deep/er/e.png", "deep/.hidden.png", "[a].png"] {
        std::fs::copy(at("a.png"), at(copy)).unwrap();
    }
    // A file of this name is itself, although as a pattern the name would match `a.png`.
    let (images, run) = classified(&[&at("[a].png"), &at("[b]*")], 0);
    assert_eq!(images, [at("[a].png"), at("b.PNG")], "a name first");
    // Without a terminal there is no progress bar.
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.starts_with("note: "), "{}", run.stderr);

    let (images, _) = classified(&[&at("**/*.png"), &at("?.jpg")], 0);
    let expected = ["[a].png", "a.png", "deep/d.png", "deep/er/e.png", "c.jpg"];
    assert_eq!(images, expected.map(at), "all folders, nothing hidden");
    let (images, _) = classified(&[&at("deep/**")], 0);
    let mut found = images.clone();
    found.sort();
    assert_eq!(found, ["deep/d.png", "deep/er/e.png"].map(at), "each once");
}

#[test]
fn patterns_without_matches_are_errors_as_missing_files_are() {
    let folder = pictures();
    let at = |name: &str| path(&folder.path().join(name)).to_owned();
    let none = at("*.webp");
    let (images, run) = classified(&[&none, &at("a.png")], 1);
    assert_eq!(images, [at("a.png")], "the others are answered");
    run.complains_of(&none)
        .complains_of("as a pattern it matches none");
    let (images, run) = classified(&[&at("a[.png")], 1);
    assert_eq!(images.len(), 0, "{images:?}");
    run.complains_of("neither a file nor a pattern");
}

#[test]
fn neither_the_batch_nor_the_form_of_the_results_changes_an_answer() {
    let folder = pictures();
    let classify = ["classify", "-q", path(folder.path()), "--top", "2"];
    let wide = ["--arch", "resnet18", "--size", "33x47"];
    let run = |flags: &[&str]| {
        Run::new(&[&classify, &wide, &ON_CPU, flags])
            .ends_with(0)
            .stdout
    };
    let lines = |text: String| -> Vec<Value> {
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let by_two = lines(run(&["--format", "jsonl", "--batch", "2"]));
    let lines = lines(run(&["--format", "jsonl"]));
    assert_eq!(lines.len(), 3, "images");
    for (alone, together) in lines.iter().zip(&by_two) {
        assert_eq!(alone["image"], together["image"], "order");
        for rank in 0..2 {
            assert_same_guess(&alone["top"][rank], &together["top"][rank]);
        }
    }
    let csv = run(&["--format", "csv", "--labels", "imagenet1k"]);
    assert_eq!(
        csv.lines().next(),
        Some("image,rank,class,label,probability,logit"),
        "header"
    );
    assert_eq!(csv.lines().count(), 1 + lines.len() * 2, "{csv}");
    let text = run(&[]);
    for line in lines {
        assert_eq!(line["schema_version"], 1, "version");
        for form in [&csv, &text] {
            assert!(form.contains(line["image"].as_str().unwrap()), "{form}");
            assert!(
                form.contains(line["top"][0]["label"].as_str().unwrap()),
                "{form}"
            );
        }
    }
}

/// Reads the elements of a NumPy file that must have these rows and columns.
fn npy(file: &Path, rows: usize, columns: usize) -> Vec<f32> {
    let bytes = std::fs::read(file).unwrap();
    let header = std::str::from_utf8(&bytes[10..128]).unwrap();
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00", "magic and version");
    assert!(
        header.contains(&format!("'shape': ({rows}, {columns})")),
        "{header}"
    );
    // The names follow.
    let numbers = &bytes[128..][..rows * columns * 4];
    let words = numbers.as_chunks::<4>().0;
    words.iter().map(|&w| f32::from_le_bytes(w)).collect()
}

#[test]
fn embed_gives_the_features_of_each_image_in_both_forms() {
    let folder = pictures();
    let bad = file(&folder, "bad.png", "no image");
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("features.npy");
    let images = ["embed", path(folder.path()), "--batch", "2"];
    let to_file = ["-o", path(&file)];
    let run = Run::new(&[&images, &TINY, &ON_CPU, &to_file])
        .ends_with(1)
        .complains_of(path(&bad));
    let listed: Vec<&str> = run.stdout.lines().collect();
    let expected = ["a.png", "b.PNG", "c.jpg"].map(|name| folder.path().join(name));
    assert_eq!(listed, expected.each_ref().map(|p| path(p)), "rows");
    let rows = npy(&file, 3, 512);
    let files = std::fs::read_dir(out.path()).unwrap().count();
    assert_eq!(files, 1, "nothing but the file");

    let run = Run::new(&[&images, &TINY, &ON_CPU, &["--normalize"]]).ends_with(1);
    for (index, line) in run.stdout.lines().enumerate() {
        let json: Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["image"], path(&expected[index]), "image");
        let embedding: Vec<f64> = serde_json::from_value(json["embedding"].clone()).unwrap();
        let row = &rows[index * 512..][..512];
        let length = row
            .iter()
            .map(|&x| f64::from(x).powi(2))
            .sum::<f64>()
            .sqrt();
        assert!(length > 0.1, "there is something to see");
        for (x, y) in embedding.iter().zip(row) {
            assert!(
                (x - f64::from(*y) / length).abs() < 1e-5,
                "{x} for {y} of {length}"
            );
        }
        assert_eq!(embedding.len(), 512, "features");
    }
    // The names are in the file, too.
    let index = ["search", path(&file), path(&expected[1]), "--top", "2"];
    let run = Run::new(&[&index, &TINY, &ON_CPU, &["--format", "jsonl"]]).ends_with(0);
    let found: Value = serde_json::from_str(&run.stdout).unwrap();
    let nearest = found["nearest"].as_array().unwrap();
    assert_eq!(nearest.len(), 2, "{found}");
    assert_eq!(nearest[0]["image"], path(&expected[1]), "itself: {found}");
    let similarity = nearest[0]["similarity"].as_f64().unwrap();
    assert!((similarity - 1.0).abs() < 1e-5, "{found}");
    let run = Run::new(&[&index, &TINY, &ON_CPU]).ends_with(0);
    let line = format!("  1.0000  {}", path(&expected[1]));
    assert_eq!(run.stdout.lines().nth(1), Some(&*line), "{}", run.stdout);
    let other = ["--arch", "resnet50", "--size", "32"];
    Run::new(&[&index, &other, &ON_CPU])
        .ends_with(1)
        .complains_of("vectors of 512 numbers");
    let first = &rows[..512];
    assert_ne!(first, &rows[512..1024], "each image has its own");
    let wide = ["embed", path(&expected[0])];
    let alone = Run::new(&[&wide, &TINY, &ON_CPU]).ends_with(0);
    let json: Value = serde_json::from_str(&alone.stdout).unwrap();
    let alone: Vec<f32> = serde_json::from_value(json["embedding"].clone()).unwrap();
    for (x, y) in alone.iter().zip(first) {
        assert!(
            (x - y).abs() < 1e-4,
            "the batch changes nothing: {x} and {y}"
        );
    }
}

#[test]
fn cam_paints_what_the_network_sees_and_leaves_the_rest() {
    let folder = pictures();
    let image = folder.path().join("b.PNG");
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("map.png");
    let flags = ["--no-caption", "--colors", "rainbow"];
    let cam = [&["cam", path(&image), "-o", path(&file)], &flags[..]].concat();
    let json = ["--format", "json"];
    let run = Run::new(&[&cam, &TINY, &ON_CPU, &json]).ends_with(0);
    let json = run.json();
    let map: Vec<Vec<f32>> = serde_json::from_value(json["map"].clone()).unwrap();
    assert_eq!(json["map_size"], serde_json::json!([4, 4]), "32 pixels / 8");
    let values = || map.iter().flatten().copied();
    assert_eq!(values().fold(1.0, f32::min), 0.0, "smallest");
    assert_eq!(values().fold(0.0, f32::max), 1.0, "largest");
    let probability = json["probability"].as_f64().unwrap();
    assert!(
        probability > 1e-3,
        "the most likely one of 1000: {probability}"
    );

    // 33×61 is resized to 36×66, of which the centre 32×32 is seen.
    let before = image::open(&image).unwrap().to_rgb8();
    let after = image::open(&file).unwrap().to_rgb8();
    assert_eq!(before.dimensions(), after.dimensions(), "size");
    let seen = |x: u32| (16..46).contains(&x);
    let columns = |inside: bool| (0..61).filter(move |&x| seen(x) == inside);
    assert!(
        columns(false).all(|x| before.get_pixel(x, 16) == after.get_pixel(x, 16)),
        "outside"
    );
    let changed = columns(true).filter(|&x| before.get_pixel(x, 16) != after.get_pixel(x, 16));
    assert!(changed.count() > 25, "inside");

    // Another class has another map, whether chosen by number or label.
    let by_number = ["--format", "json", "--class", "207"];
    let one = Run::new(&[&cam, &TINY, &ON_CPU, &by_number]).ends_with(0);
    let by_name = ["--format", "json", "--class", "Golden Retriever"];
    let other = Run::new(&[&cam, &TINY, &ON_CPU, &by_name]).ends_with(0);
    assert_eq!(one.json()["map"], other.json()["map"], "golden retriever");
    assert_ne!(one.json()["map"], json["map"], "another class");
    let files = std::fs::read_dir(out.path()).unwrap().count();
    assert_eq!(files, 1, "nothing but the picture");

    for (flags, says) in [
        (["--class", "1000"], "0 to 999"),
        (["--class", "retriever"], "may be"),
        (["--class", "hippogriff"], "in no label"),
    ] {
        Run::new(&[&cam, &TINY, &ON_CPU, &flags])
            .ends_with(2)
            .complains_of(says);
    }
    // A convolution that is merged with what follows it.
    Run::new(&[&cam, &TINY, &ON_CPU, &["--at", "layer4.1.conv1"]]).ends_with(0);
    Run::new(&[&cam, &TINY, &ON_CPU, &["--at", "layer9"]])
        .ends_with(1)
        .complains_of("layer9");
    let nowhere = out.path().join("no/such/folder.png");
    let cam = ["cam", path(&image), "-o", path(&nowhere)];
    Run::new(&[&cam, &TINY, &ON_CPU])
        .ends_with(1)
        .complains_of("cannot write");
}

#[test]
fn cam_maps_several_images_into_a_folder() {
    let folder = pictures();
    let bad = file(&folder, "bad.jpg", "no image");
    let out = tempfile::tempdir().unwrap();
    let maps = format!("{}/new/maps/", path(out.path()));
    let cam = ["cam", path(folder.path()), "-o", &maps];
    let run = Run::new(&[&cam, &TINY, &ON_CPU, &["--format", "jsonl"]])
        .ends_with(1)
        .complains_of(path(&bad));
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = ["a.png", "b.png", "c.png"].map(|name| format!("{maps}{name}"));
    let written: Vec<&str> = lines
        .iter()
        .map(|l| l["output"].as_str().unwrap())
        .collect();
    assert_eq!(written, expected, "one for each image that can be read");
    // The last one is a JPEG, which these tests cannot read.
    for (line, map) in lines.iter().zip(&expected[..2]) {
        let image = image::open(line["image"].as_str().unwrap()).unwrap();
        let map = image::open(map).unwrap();
        assert_eq!(map.width(), image.width().max(160), "room for the caption");
        assert!(map.height() > image.height(), "a caption below it");
    }
    assert!(run.stderr.contains("bad.jpg"), "{}", run.stderr);

    // Maps beside their images replace none of them.
    std::fs::remove_file(&bad).unwrap();
    let before = std::fs::read(folder.path().join("a.png")).unwrap();
    let cam = ["cam", path(folder.path()), "-o", path(folder.path())];
    let run = Run::new(&[&cam, &TINY, &ON_CPU]).ends_with(0);
    let names: Vec<&str> = run
        .stdout
        .lines()
        .map(|line| line.split(':').next().unwrap().rsplit('/').next().unwrap())
        .collect();
    assert_eq!(names, ["a-2.png", "b-2.png", "c.png"], "{}", run.stdout);
    let after = std::fs::read(folder.path().join("a.png")).unwrap();
    assert!(before == after, "the image is as it was");
}

#[test]
fn cam_has_colours_and_says_what_it_cannot_write() {
    let folder = pictures();
    let image = folder.path().join("b.PNG");
    let map = |colors: &str| {
        let file = folder.path().join("map.png");
        let cam = ["cam", path(&image), "-o", path(&file), "--colors", colors];
        Run::new(&[&cam, &TINY, &ON_CPU]).ends_with(0);
        std::fs::read(file).unwrap()
    };
    let maps = ["ember", "viridis", "spotlight", "rainbow"].map(map);
    for (i, map) in maps.iter().enumerate() {
        assert!(maps[i + 1..].iter().all(|other| other != map), "scale {i}");
    }
    let several = path(folder.path());
    for (images, output, format, says) in [
        (path(&image), "map.jpg", "text", "ends in .png"),
        (several, "map.png", "text", "--output maps/"),
        (several, "maps/", "json", "--format jsonl"),
    ] {
        let output = folder.path().join(output);
        let output = path(&output);
        let run = Run::new(&[
            &["cam", images, "-o", output, "--format", format],
            &TINY,
            &ON_CPU,
        ]);
        let run = run.ends_with(2);
        assert!(run.stderr.contains(says), "{says}: {}", run.stderr);
    }
}

/// Weights whose max pool has no padding, for images that keep their size.
fn of_any_size(folder: &TempDir) -> [String; 6] {
    let rules = r#"{"size": [32, 32], "resize": "keep", "filter": "bilinear", "mean": [0, 0, 0],
        "std": [1, 1, 1]}"#;
    let weights = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../formats/tests/data/torch/zip.pth"
    );
    let rules = file(folder, "rules.json", rules);
    let flags = [
        "--weights",
        weights,
        "--preprocess",
        path(&rules),
        "--set",
        "pool_padding=0",
    ];
    flags.map(str::to_owned)
}

#[test]
fn an_image_that_is_too_small_for_the_network_is_refused_alone() {
    let folder = pictures();
    let small = folder.path().join("aa.png");
    RgbImage::new(3, 3).save(&small).unwrap();
    let flags = of_any_size(&folder);
    let flags = flags.each_ref().map(String::as_str);
    let images = [path(folder.path()), "--batch", "2"];
    let run = Run::new(&[&["classify", "--format", "json"], &images, &flags, &ON_CPU])
        .ends_with(1)
        .complains_of(path(&small));
    let json = run.json();
    assert_eq!(json["results"].as_array().unwrap().len(), 3, "the others");
    assert_eq!(json["errors"].as_array().unwrap().len(), 1, "the small one");

    let run = Run::new(&[&["embed"], &images, &flags, &ON_CPU])
        .ends_with(1)
        .complains_of(path(&small));
    let alone = folder.path().join("b.PNG");
    let alone = Run::new(&[&["embed", path(&alone)], &flags, &ON_CPU]).ends_with(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "the others");
    assert_eq!(Some(lines[1]), alone.stdout.lines().next(), "its own size");

    let map = folder.path().join("map.png");
    let image = folder.path().join("b.PNG");
    let cam = ["cam", path(&image), "-o", path(&map), "--format", "json"];
    let json = Run::new(&[&cam, &flags, &ON_CPU]).ends_with(0).json();
    assert_eq!(
        json["model"]["size"],
        serde_json::json!([33, 61]),
        "all of it"
    );
    let cam = ["cam", path(&small), "-o", path(&map)];
    Run::new(&[&cam, &flags, &ON_CPU]).ends_with(1);
}
