//! Work that is prepared ahead, and classes by name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use resnet_run::{Ahead, Refused, class_of, label};
use resnet_wgpu::picture::Labels;

const SOON: Duration = Duration::from_secs(60);

fn pool(threads: usize) -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap()
}

/// The next of so many numbers, from 0 on.
fn count_to(end: usize, count: &Cell<usize>) -> Option<usize> {
    let number = count.get();
    count.set(number + 1);
    (number < end).then_some(number)
}

#[test]
fn items_are_prepared_while_earlier_ones_run_and_come_back_in_order() {
    let threads = pool(3);
    for (runs, group) in [(1, 1), (1, 4), (2, 1), (2, 3)] {
        let ahead = Ahead {
            threads: Some(&threads),
            group,
            runs,
        };
        let (given, taken, most) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let next = || {
            most.set(most.get().max(given.get() - taken.get()));
            Ok(count_to(20, &given))
        };
        // The first group runs until an item of the one behind it is prepared.
        let (prepared, wait) = channel();
        let wait = Mutex::new(wait);
        let prepare = |number: usize| {
            prepared.send(number).unwrap();
            number * number
        };
        let run = |squares: Vec<usize>| {
            while squares[0] == 0 && wait.lock().unwrap().recv_timeout(SOON).unwrap() < group {}
            squares
        };
        let take = |squares: Vec<usize>| {
            assert_eq!(squares.len(), group.min(20 - taken.get()), "a whole group");
            for square in squares {
                assert_eq!(square, taken.get() * taken.get(), "order");
                taken.set(taken.get() + 1);
            }
            Ok::<_, ()>(())
        };
        let stages = ahead.run(next, prepare, run, take, || Ok(())).unwrap();
        assert_eq!(taken.get(), 20, "all");
        let room = (runs + 1) * group + 3;
        assert!(most.get() <= room, "{} items at a time", most.get());
        assert!(stages.running > Duration::ZERO, "{stages:?}");
    }
}

#[test]
fn a_result_is_taken_although_the_next_item_is_not_prepared() {
    let threads = pool(1);
    let ahead = Ahead {
        threads: Some(&threads),
        group: 1,
        runs: 2,
    };
    let (first_is_taken, wait) = channel();
    let wait = Mutex::new(wait);
    let given = Cell::new(0);
    let prepare = |number| {
        if number == 1 {
            wait.lock().unwrap().recv_timeout(SOON).unwrap();
        }
        number
    };
    let take = |numbers: Vec<usize>| {
        if numbers == [0] {
            first_is_taken.send(()).unwrap();
        }
        Ok::<_, ()>(())
    };
    let next = || Ok(count_to(3, &given));
    ahead
        .run(next, prepare, |numbers| numbers, take, || Ok(()))
        .unwrap();
}

#[test]
fn the_first_error_ends_it() {
    let ahead = Ahead {
        threads: None,
        group: 1,
        runs: 2,
    };
    let given = Cell::new(0);
    let endless = || Ok(count_to(usize::MAX, &given));
    let failing = || count_to(2, &given).map(Some).ok_or("next");
    let refuse = |numbers: Vec<usize>| if numbers[0] < 3 { Ok(()) } else { Err("take") };
    let same = |numbers: Vec<usize>| numbers;
    let ended = ahead.run(endless, |number| number, same, refuse, || Ok(()));
    assert_eq!(ended.unwrap_err(), "take");
    let room = 3 + rayon::current_num_threads();
    assert!(given.get() <= 4 + room, "{} items for three", given.get());
    given.set(0);
    let ended = ahead.run(failing, |number| number, same, refuse, || Ok(()));
    assert_eq!(ended.unwrap_err(), "next");
    // Whoever waits can be told to stop, and what runs is finished first.
    given.set(0);
    let (stop, wait) = channel();
    let wait = Mutex::new(wait);
    let run = |numbers: Vec<usize>| {
        wait.lock().unwrap().recv_timeout(SOON).unwrap();
        numbers
    };
    let idle = || stop.send(()).map_or(Ok(()), |()| Err("idle"));
    let once = || Ok(count_to(1, &given));
    let ended = ahead.run(once, |number| number, run, |_| Ok(()), idle);
    assert_eq!(ended.unwrap_err(), "idle");
}

#[test]
fn a_panic_of_any_stage_is_passed_on() {
    for stage in 0..3 {
        let given = Cell::new(0);
        let fails = |here: usize, number: usize| assert!(here != stage || number < 2, "on purpose");
        let job = || {
            let ahead = Ahead {
                threads: None,
                group: 1,
                runs: 2,
            };
            let prepare = |number| {
                fails(0, number);
                number
            };
            let run = |numbers: Vec<usize>| {
                numbers.iter().for_each(|&number| fails(1, number));
                numbers
            };
            let take = |numbers: Vec<usize>| {
                numbers.iter().for_each(|&number| fails(2, number));
                Ok::<_, ()>(())
            };
            ahead.run(|| Ok(count_to(9, &given)), prepare, run, take, || Ok(()))
        };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        assert!(ended.is_err(), "stage {stage}");
    }
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
