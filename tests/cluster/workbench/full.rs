//! A workbench whose disk is full: the statement ends with PostgreSQL's own error, and nothing of it stays.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::large::{NOTHING, left_behind};
use super::world::{self, World};
use crate::own::eventually;

/// A file system of its own, as small as that.
struct Small(PathBuf);

impl Small {
    /// None where nobody may mount one.
    fn mount(at: &Path) -> Option<Small> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k,mode=0777", "goldseam"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Small(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Files of a server that is still open keep it: it goes when they go.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_workbench_whose_disk_is_full_keeps_nothing() {
    let world = World::start("");
    let mut mounts = Vec::new();
    for n in 0..world::SHARDS {
        let folder = world.cluster.subfolder(&format!("full{n}")).unwrap();
        let Some(mount) = Small::mount(&folder) else {
            println!("nobody may mount a small file system here: not tested");
            return;
        };
        mounts.push(mount);
        // The file system's root belongs to root; the server wants a folder that is its own.
        let own = folder.join("own");
        std::fs::create_dir(&own).unwrap();
        let name = own.to_str().unwrap();
        if !Command::new("chown").args(["postgres", name]).output().is_ok_and(|output| output.status.success()) {
            println!("the folder cannot be given to the servers' user: not tested");
            return;
        }
        world.shard(n).ok(&format!("CREATE TABLESPACE small LOCATION '{name}'"));
    }
    let mut client = world.connect();
    client.ok("SET temp_tablespaces = 'small'");
    let joined = "SELECT count(*) FROM many a JOIN many b ON a.id = b.n + 1";
    for block in [false, true] {
        if block {
            client.ok("BEGIN");
            client.ok("UPDATE many SET note = 'never' WHERE id = 5");
        }
        let reply = client.query(joined);
        assert_eq!(reply.code(), "53100", "{reply:?}");
        if block {
            assert_eq!(client.query("SELECT 1").code(), "25P02");
            client.ok("ROLLBACK");
        }
        eventually("nothing is left", || left_behind(&world) == NOTHING);
        assert_eq!(client.one("SELECT note FROM many WHERE id = 5"), "row 5", "the session goes on");
        // What fits is answered: the buyers lend their keys, so that few rows come.
        assert_eq!(client.one("SELECT count(*) FROM many a JOIN buyer b ON a.id = b.friend WHERE b.id > 0"), "24");
    }
    client.ok("RESET temp_tablespaces");
    assert_eq!(client.one(joined), "12000");
    eventually("nothing is left", || left_behind(&world) == NOTHING);
}
