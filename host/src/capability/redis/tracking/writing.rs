//! Writes of this host, as its readers are told of them.

use super::changes::Changes;

/// Keys that are being written. They count as changed before the command is sent, so that
/// no reader is given what is on its way out, and once more when this is dropped: a value
/// may have been read just before the command reached Redis.
pub(crate) struct Writing<'a, K: AsRef<[u8]>> {
    changes: &'a Changes,
    keys: &'a [K],
}

impl<'a, K: AsRef<[u8]>> Writing<'a, K> {
    pub(super) fn new(changes: &'a Changes, keys: &'a [K]) -> Self {
        let writing = Self { changes, keys };
        writing.tell();
        writing
    }
}

impl<K: AsRef<[u8]>> Writing<'_, K> {
    fn tell(&self) {
        for key in self.keys {
            self.changes.changed(key.as_ref());
        }
    }
}

impl<K: AsRef<[u8]>> Drop for Writing<'_, K> {
    fn drop(&mut self) {
        self.tell();
    }
}
