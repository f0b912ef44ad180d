//! Work that is prepared ahead, and classes by name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::sync::mpsc::channel;
use std::time::Duration;

use resnet_run::{Refused, ahead, class_of, label};
use resnet_wgpu::picture::Labels;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn work_is_prepared_while_earlier_work_runs_and_comes_back_in_order() {
    let (next_is_made, wait) = channel();
    let (made, taken, most) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let make = || {
        let number = made.get();
        made.set(number + 1);
        most.set(most.get().max(made.get() - taken.get()));
        next_is_made.send(number).unwrap();
        Ok((number < 9).then_some(number))
    };
    // The first piece runs until the second is made.
    let run = move |number: usize| {
        while number == 0 && wait.recv_timeout(SOON).unwrap() == 0 {}
        number * number
    };
    let take = |square| {
        assert_eq!(square, taken.get() * taken.get(), "order");
        taken.set(taken.get() + 1);
        Ok::<_, ()>(())
    };
    assert_eq!(ahead(make, run, take, || Ok(())), Ok(()));
    assert_eq!(taken.get(), 9, "all");
    assert!(most.get() <= 3, "{} pieces at a time", most.get());
}

#[test]
fn the_first_error_ends_it() {
    let made = Cell::new(0);
    let endless = || {
        made.set(made.get() + 1);
        Ok(Some(made.get()))
    };
    let failing = || {
        made.set(made.get() + 1);
        if made.get() < 3 {
            Ok(Some(0))
        } else {
            Err("make")
        }
    };
    let refuse = |piece| if piece < 3 { Ok(()) } else { Err("take") };
    assert_eq!(
        ahead(endless, |piece| piece, refuse, || Ok(())),
        Err("take")
    );
    assert!(made.get() <= 6, "{} pieces for three results", made.get());
    made.set(0);
    assert_eq!(
        ahead(failing, |piece| piece, refuse, || Ok(())),
        Err("make")
    );
    // Whoever waits can be told to stop, and what runs is finished first.
    let (stop, wait) = channel();
    let run = move |piece: usize| wait.recv_timeout(SOON).map(|()| piece).unwrap();
    let idle = || stop.send(()).map_or(Ok(()), |()| Err("idle"));
    let once = Cell::new(Some(1));
    assert_eq!(
        ahead(|| Ok(once.take()), run, |_| Ok(()), idle),
        Err("idle")
    );
}

#[test]
fn classes_are_found_by_number_by_name_and_by_a_part_of_it() {
    let labels = Labels::new(["tabby, tabby cat", "tiger cat", "cat", "dog"]);
    let find = |text: &str| class_of(text, Some(&labels), 4);
    for (text, class) in [
        ("2", 2),
        ("CAT", 2),
        ("tabby", 0),
        ("Tabby Cat", 0),
        ("tig", 1),
    ] {
        assert_eq!(find(text).unwrap(), class, "{text}");
    }
    let refused = |found: Result<usize, Refused>| match found {
        Err(Refused::Class { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(refused(find("4")).contains("0 to 3"), "number");
    assert!(refused(find("bird")).contains("no label"), "name");
    assert!(
        refused(find("t")).contains("0 (tabby, tabby cat), 1"),
        "several"
    );
    assert!(
        refused(class_of("cat", None, 4)).contains("no labels"),
        "none"
    );
    assert_eq!(label(Some(&labels), 3), "dog");
    assert_eq!(label(Some(&labels), 4), "class 4");
    assert_eq!(label(None, 3), "class 3");
}
