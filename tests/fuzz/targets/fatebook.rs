//! Books: whatever stands in the file, it is one or has problems that can be told.

#![no_main]

use std::cell::OnceCell;

use libfuzzer_sys::fuzz_target;
use pisaura::fatebook::{Reading, find_books};

thread_local! {
    static FOLDER: OnceCell<std::path::PathBuf> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    let folder = FOLDER.with(|folder| {
        folder.get_or_init(|| std::env::temp_dir().join(format!("pisaura-fuzz-{}", std::process::id()))).clone()
    });
    let _ = std::fs::create_dir_all(&folder);
    let path = folder.join("book.yaml");
    if std::fs::write(&path, data).is_err() {
        return;
    }
    for book in find_books(&path).unwrap_or_default() {
        if let Err(broken) = book.read(&|_| None, Reading { thorough: true, ..Reading::default() }) {
            assert!(!broken.report().is_empty());
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
});
