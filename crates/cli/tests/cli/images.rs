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
    let words = bytes[128..].as_chunks::<4>().0;
    assert_eq!(words.len(), rows * columns, "numbers");
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
    let cam = ["cam", path(&image), "-o", path(&file)];
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
    Run::new(&[&cam, &TINY, &ON_CPU, &["--at", "layer9"]])
        .ends_with(1)
        .complains_of("layer9");
    let nowhere = out.path().join("no/such/folder.png");
    let cam = ["cam", path(&image), "-o", path(&nowhere)];
    Run::new(&[&cam, &TINY, &ON_CPU])
        .ends_with(1)
        .complains_of("cannot write");
}
