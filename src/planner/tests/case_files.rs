//! Files of cases: blocks parted by empty lines, each `# sentence`, statement, `----`, what comes of it.

/// The names of a folder's files, in order.
pub fn names(folder: &str) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".txt"));
    names.sort();
    names
}

/// Runs the cases of one file; how many there are. With `GOLDSEAM_BLESS` set what is found is written into it.
pub fn check(folder: &str, file: &str, run: &dyn Fn(&str) -> String) -> usize {
    let path = format!("{folder}/{file}");
    let text = std::fs::read_to_string(&path).unwrap();
    let bless = std::env::var_os("GOLDSEAM_BLESS").is_some();
    let (mut out, mut wrong, mut count) = (Vec::new(), Vec::new(), 0);
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let (head, expected) = block.split_once("\n----").unwrap_or((block, ""));
        if head.lines().all(|line| line.starts_with('#')) {
            out.push(block.to_string());
            continue;
        }
        count += 1;
        let found = run(head);
        if found.trim() != expected.trim() {
            wrong.push(format!("{head}\n---- expected{expected}\n---- found\n{found}"));
        }
        out.push(format!("{head}\n----\n{found}"));
    }
    if bless {
        std::fs::write(&path, out.join("\n\n") + "\n").unwrap();
    } else {
        assert!(wrong.is_empty(), "{file}: {} of {count} differ\n\n{}", wrong.len(), wrong.join("\n\n"));
    }
    count
}
