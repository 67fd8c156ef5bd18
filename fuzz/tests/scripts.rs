//! The protocol scripts say what really happens. `UPDATE_SCRIPTS=1` writes it into them.

use std::fs;
use std::path::Path;

use zabkeeper_fuzz::script;

#[test]
fn scripts_say_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("fuzz/scripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    names.sort();
    assert!(names.len() >= 30, "{} scripts", names.len());
    let update = std::env::var_os("UPDATE_SCRIPTS").is_some();
    let mut wrong = Vec::new();
    for path in &names {
        let text = fs::read_to_string(path).expect("text");
        match script::run(&text) {
            Err(what) => wrong.push(format!("{}: {what}", path.display())),
            Ok(told) if told != text && update => fs::write(path, told).expect("written"),
            Ok(told) if told != text => {
                let at = text.lines().zip(told.lines()).position(|(a, b)| a != b);
                let at = at.unwrap_or_else(|| text.lines().count().min(told.lines().count()));
                let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
                let (said, is) = (line(&text), line(&told));
                wrong.push(format!("{}:{}: {said:?}, and it is {is:?}", path.display(), at + 1));
            }
            Ok(_) => {}
        }
    }
    assert!(wrong.is_empty(), "UPDATE_SCRIPTS=1 writes what happens:\n{}", wrong.join("\n"));
}

#[test]
fn a_line_of_no_kind_is_refused() {
    for text in ["ensemble 3\n", "> ensemble 3\n1 is down\n", "> state\n", "> ensemble 8\n"] {
        assert!(script::run(text).is_err(), "{text}");
    }
    assert!(script::run("# A reader's line.\n\n> ensemble 3\n> state\n").is_ok());
}
