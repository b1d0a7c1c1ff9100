//! What a program says, through a pipe into its log, with secrets masked.

use std::io::{self, PipeReader, Read as _, Write};
use std::time::{Duration, Instant};

use super::mask::MaskedWriter;

/// For so long it is waited for whoever was killed with the program to let go of the pipe.
const LINGER: Duration = Duration::from_millis(100);
/// So much is copied at once.
const PIECE: usize = 16 * 1024;

/// Copies what comes through `pipe` to `log`, to its end. Once the program has ended, which is when the other side of `ended` is gone, no
/// further than to what was in the pipe by then: a process that left the program's group may hold it for ever.
///
/// # Errors
///
/// Whatever reading or writing gives.
#[cfg(unix)]
pub(super) fn copy<W: Write>(mut pipe: PipeReader, ended: &PipeReader, mut log: MaskedWriter<'_, W>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    while !has_ended(&pipe, ended)? {
        match read(&mut pipe, &mut buffer)? {
            0 => return log.finish(),
            read => log.write(&buffer[..read])?,
        }
    }
    let mut there = rustix::io::ioctl_fionread(&pipe)?;
    let began = Instant::now();
    loop {
        let left = LINGER.saturating_sub(began.elapsed());
        // What is there can be read at once, and whoever goes on writing is not waited for.
        if there == 0 && (left.is_zero() || !is_ready_within(&pipe, left)?) {
            return log.cut_off();
        }
        match read(&mut pipe, &mut buffer)? {
            0 => return log.finish(),
            read => {
                log.write(&buffer[..read])?;
                there = there.saturating_sub(read as u64);
            }
        }
    }
}

/// The same, to the pipe's end: elsewhere there are no groups that a process could leave.
#[cfg(not(unix))]
pub(super) fn copy<W: Write>(mut pipe: PipeReader, _: &PipeReader, mut log: MaskedWriter<'_, W>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        match read(&mut pipe, &mut buffer)? {
            0 => return log.finish(),
            read => log.write(&buffer[..read])?,
        }
    }
}

fn read(pipe: &mut PipeReader, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match pipe.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Waits until there is something in `pipe`, or its end, or the program `ended`; gives whether it is that.
#[cfg(unix)]
fn has_ended(pipe: &PipeReader, ended: &PipeReader) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut both = [PollFd::new(pipe, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut both, None))?;
    Ok(!both[1].revents().is_empty())
}

/// Whether there is something in `pipe`, or its end, before `time` has passed.
#[cfg(unix)]
fn is_ready_within(pipe: &PipeReader, time: Duration) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    let ready = rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&time)))?;
    Ok(ready > 0)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// What is copied of what `write` writes before the program ends, while `holds` says whether another still holds the pipe then.
    fn copied(write: &[u8], holds: bool) -> String {
        let secrets = ["hunter2-hunter2".to_owned()];
        let (pipe, mut writer) = io::pipe().expect("a pipe");
        let (ended, alive) = io::pipe().expect("a pipe");
        let mut log = Vec::new();
        std::thread::scope(|scope| {
            let masked = MaskedWriter::new(&mut log, &secrets);
            let copying = scope.spawn(move || copy(pipe, &ended, masked));
            writer.write_all(write).expect("written");
            let held = holds.then(|| writer.try_clone().expect("cloned"));
            drop(writer);
            drop(alive);
            copying.join().expect("no panic").expect("copied");
            drop(held);
        });
        String::from_utf8(log).expect("UTF-8")
    }

    #[test]
    fn nothing_that_was_written_before_the_end_is_lost_whoever_holds_the_pipe() {
        let text = "said with hunter2-hunter2\n".repeat(40_000);
        for holds in [false, true] {
            assert!(
                copied(text.as_bytes(), holds) == text.replace("hunter2-hunter2", "***"),
                "{holds}"
            );
        }
    }

    #[test]
    fn what_may_be_half_a_secret_is_masked_where_it_is_cut_off() {
        for (said, at_its_end, cut_off) in [
            ("all of it: hunter2-hunter2", "all of it: ***", "all of it: ***"),
            ("half of it: hunter2-hun", "half of it: hunter2-hun", "half of it: ***"),
            ("none of it\n", "none of it\n", "none of it\n"),
            ("", "", ""),
        ] {
            assert_eq!(copied(said.as_bytes(), false), at_its_end);
            assert_eq!(copied(said.as_bytes(), true), cut_off);
        }
    }

    #[test]
    fn who_goes_on_writing_is_not_waited_for() {
        let secrets = ["hunter2-hunter2".to_owned()];
        let (pipe, mut writer) = io::pipe().expect("a pipe");
        let (ended, alive) = io::pipe().expect("a pipe");
        let endless = std::thread::spawn(move || while writer.write_all(&[b'y'; 4096]).is_ok() {});
        drop(alive);
        copy(pipe, &ended, MaskedWriter::new(io::sink(), &secrets)).expect("copied");
        endless.join().expect("its pipe is gone");
    }
}
