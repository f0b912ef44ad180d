//! Tests of `progress.rs` that need access to private items.

use std::cell::RefCell;

use indicatif::InMemoryTerm;

use super::*;

thread_local! {
    static SCREEN: RefCell<InMemoryTerm> = RefCell::new(InMemoryTerm::new(4, 60));
}

fn screen() -> InMemoryTerm {
    SCREEN.with_borrow(Clone::clone)
}

#[test]
fn the_images_that_are_done_are_shown_between_what_is_printed() {
    let mut bars = Bars {
        target: Some(|| ProgressDrawTarget::term_like(Box::new(screen()))),
        bar: None,
    };
    assert_eq!(bars.while_hidden(|| 1), 1, "nothing to hide");
    bars.images(2, 5);
    // Bars are drawn a few times a second, and always when they reappear.
    let shown = bars.while_hidden(|| screen().contents());
    assert_eq!(shown, "", "hidden meanwhile");
    assert!(screen().contents().starts_with("images "), "a bar");
    assert!(screen().contents().contains(" 2/5, "), "{:?}", screen());
    drop(bars);
    assert_eq!(screen().contents(), "", "gone at the end");
}

#[test]
fn a_quiet_program_shows_none() {
    let mut bars = Bars::new(true);
    bars.images(2, 5);
    assert!(bars.bar.is_none(), "{bars:?}");
}
