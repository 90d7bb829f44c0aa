//! Entries and blobs that are not as they were written.

use burla_ledger::Damage;
use burla_proto::v1::job;

use super::*;

/// Two jobs with two segments of inputs each, and one that has ended, at these positions: 1 2 3, 4 5 6, 7 8.
async fn written() -> Disk {
    let disk = Disk::new();
    let (store, mut writer, _) = disk.open().await;
    for number in [1, 2] {
        store.open_job(id(number), options("open"));
        for index in [0, 1] {
            store.add_inputs(id(number), index, inputs(index..index + 1));
            assert!(writer.write().await.unwrap());
        }
    }
    store.open_job(id(3), options("over"));
    store.end_job(id(3), ended_as(id(3)));
    assert!(writer.write().await.unwrap());
    disk
}

#[tokio::test]
async fn damage_is_told_and_nothing_is_changed() {
    for damage in [Damage::FlippedBit, Damage::Truncated, Damage::UnknownVersion] {
        let disk = written().await;
        let before = disk.memory.end(SHARD).await.unwrap();
        assert!(disk.memory.damage(SHARD, Position(2), damage));
        let error = disk.try_open().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("entry 2") && text.contains("--skip-damaged") && text.contains("backup"), "{text}");
        assert_eq!(disk.memory.end(SHARD).await.unwrap(), before);
    }
}

#[tokio::test]
async fn without_what_is_damaged_the_jobs_that_may_miss_something_end() {
    // The first segment of inputs, which leaves a hole; the last of the second job, which leaves none.
    for (position, open) in [(2, vec![2]), (6, vec![])] {
        let mut disk = written().await;
        assert!(disk.memory.damage(SHARD, Position(position), Damage::FlippedBit));
        disk.config.skip_damaged = true;
        let (store, mut writer, restored) = disk.open().await;
        assert_eq!(restored.iter().map(|job| job.id.as_bytes()[0]).collect::<Vec<_>>(), open);
        assert!(writer.write().await.unwrap());
        let failed = store.ended_job(id(1)).unwrap();
        assert_eq!(failed.state(), job::State::Failed);
        assert!(failed.error.contains("damaged"), "{}", failed.error);
        assert!(store.job(id(1)).unwrap().kept.borrow().ended);
        assert!(store.read_inputs(id(1), 1, ALL).await.unwrap().contains(&(1, input(1))), "what is there can be read");
        assert_eq!(store.ended_job(id(3)).unwrap().state(), job::State::Unspecified, "it ended before, as it was");

        disk.config.skip_damaged = false;
        let (store, _, restored) = disk.open().await;
        assert_eq!(restored.len(), open.len(), "it is as it says it is, from then on");
        assert_eq!(store.ended_job(id(1)).unwrap().error, failed.error);
    }
}

#[tokio::test]
async fn a_blob_that_is_gone_is_damage() {
    let mut disk = Disk::new();
    let (store, mut writer, _) = disk.open().await;
    store.open_job(id(1), options("one"));
    store.add_inputs(id(1), 0, vec![vec![0; 1 << 20].into()]);
    store.open_job(id(2), options("two"));
    assert!(writer.write().await.unwrap());
    let name = disk.blobs.list().await.unwrap().remove(0);
    disk.blobs.delete(&name).await.unwrap();
    let error = disk.try_open().await.unwrap_err().to_string();
    assert!(error.contains(&name) && error.contains(&id(1).to_string()), "{error}");
    disk.config.skip_damaged = true;
    let (store, mut writer, restored) = disk.open().await;
    assert_eq!(restored.iter().map(|job| job.id).collect::<Vec<_>>(), [id(2)]);
    let told = store.ended_job(id(1)).unwrap();
    assert_eq!((told.state(), told.ended_ms_ago), (v1::job::State::Open, None), "its end is not on the disk yet");
    assert!(writer.write().await.unwrap());
    assert!(store.ended_job(id(1)).unwrap().error.contains("missing"));
    assert!(store.read_inputs(id(1), 0, ALL).await.is_err());
}

#[tokio::test]
async fn a_record_of_a_kind_that_is_not_known_is_damage() {
    let disk = written().await;
    let end = disk.memory.end(SHARD).await.unwrap();
    // Field 100, which no version has yet.
    disk.memory.append(SHARD, end, vec![Bytes::from_static(&[0xa2, 0x06, 0x00])]).await.unwrap();
    let error = disk.try_open().await.unwrap_err().to_string();
    assert!(error.contains(&format!("entry {end}")) && error.contains("does not know"), "{error}");
}
