//! What the operating system knows of a process: CPU time and resident memory, from `/proc` (Linux only, see proc(5)).

use std::fs;
use std::time::Duration;

use crate::Outcome;

/// User and system time that the process has used since it started, all its threads together.
///
/// `/proc/PID/stat` counts in clock ticks (10 ms), which over a run of some seconds is exact to about a percent.
pub fn cpu_time(pid: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the command's name in parentheses, and may itself hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')').ok_or("unreadable /proc/PID/stat")?;
    let field = |number: usize| -> Outcome<u64> {
        let text = after_name.split_ascii_whitespace().nth(number - 3).ok_or("short /proc/PID/stat")?;
        Ok(text.parse()?)
    };
    let ticks = field(14)? + field(15)?;
    // SAFETY: sysconf reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Resident memory in bytes.
pub fn resident(pid: u32) -> Outcome<u64> {
    status(pid, "VmRSS:")
}

/// The most resident memory that it ever had.
pub fn peak(pid: u32) -> Outcome<u64> {
    status(pid, "VmHWM:")
}

fn status(pid: u32, field: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("a field is not in /proc/PID/status")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Raises this process's limit of open files, which all the servers inherit, as far as the system lets it.
pub fn allow_many_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the local struct. A refusal shows itself later, when a connection fails.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// The processor's name and the number of cores, for the heading of the report.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    format!("{cores} cores of {}", model.unwrap_or("an unnamed processor"))
}
