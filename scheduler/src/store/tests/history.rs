//! What is known of jobs that have ended, and when it goes.

use super::*;

fn names(store: &Store) -> Vec<u8> {
    store.history().iter().map(|job| job.job_id[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn how_jobs_that_were_not_kept_ended_is_written_together_a_second_later() {
    let disk = Disk::new();
    let (store, writer, _) = disk.open().await;
    disk.ledger.inject(vec![Fault::None; 10]);
    let writing = tokio::spawn(writer.run());
    let began = tokio::time::Instant::now();
    let mut ticket = Ticket::default();
    for number in 0..100 {
        ticket = store.end_job(id(number), ended_as(id(number)));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(disk.ledger.faults_left(), 10, "nothing is written yet");
    assert_eq!(store.history().len(), 100, "but known");
    store.written().wait_for(|written| *written >= ticket).await.unwrap();
    assert_eq!(disk.ledger.faults_left(), 9, "one append");
    assert_eq!(began.elapsed().as_millis(), 1000);
    store.close();
    writing.await.unwrap().unwrap();
    let (store, _writer, restored) = disk.open().await;
    assert!(restored.is_empty());
    assert_eq!(store.history().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn closing_writes_what_nobody_waits_for() {
    let disk = Disk::new();
    let (store, writer, _) = disk.open().await;
    store.end_job(id(1), ended_as(id(1)));
    store.close();
    writer.run().await.unwrap();
    assert_eq!(names(&disk.open().await.0), [1]);
}

#[tokio::test]
async fn times_are_as_of_the_moment_they_are_asked_for() {
    let disk = Disk::new();
    let (store, mut writer, _) = disk.open().await;
    store.end_job(id(1), ended_as(id(1)));
    for _ in 0..2 {
        disk.advance(Duration::from_secs(2));
        assert!(writer.write().await.unwrap());
    }
    let job = store.ended_job(id(1)).unwrap();
    assert_eq!((job.opened_ms_ago, job.ended_ms_ago, job.expired), (4005, Some(4000), false));
    assert_eq!(store.history(), [job]);
    assert!(store.ended_job(id(2)).is_none());
}

#[tokio::test]
async fn the_oldest_of_which_nothing_is_kept_are_forgotten() {
    let mut disk = Disk::new();
    (disk.config.history_jobs_max, disk.config.retention) = (2, Duration::from_secs(10));
    let (store, mut writer, _) = disk.open().await;
    for number in 1..=4 {
        store.open_job(id(number), options("kept"));
        store.add_inputs(id(number), 0, inputs(0..1));
        store.end_job(id(number), ended_as(id(number)));
        disk.advance(Duration::from_millis(1));
    }
    for number in 5..=8 {
        store.end_job(id(number), ended_as(id(number)));
        disk.advance(Duration::from_millis(1));
    }
    assert!(writer.write().await.unwrap());
    assert_eq!(names(&store), [1, 2, 3, 4, 7, 8], "the results of a job do not go because others end");
    assert!(store.job(id(1)).is_some());
    disk.advance(Duration::from_secs(10));
    store.expire_due(time_of(disk.now_ms.load(Ordering::Relaxed)));
    assert!(writer.write().await.unwrap());
    assert_eq!(names(&store), [7, 8]);
    assert!(store.job(id(4)).is_none());
    assert_eq!(disk.records().await, ["epoch", "ended", "ended"]);
    // One of an id that is forgotten is a new one.
    store.open_job(id(1), options("again"));
    assert!(writer.write().await.unwrap());
    assert_eq!(disk.open().await.2[0].options, options("again"));
}

#[tokio::test]
async fn when_there_is_too_much_those_that_ended_first_expire() {
    let mut disk = Disk::new();
    disk.config.bytes_max = 2500;
    let (store, mut writer, _) = disk.open().await;
    for number in [3, 1, 2] {
        store.open_job(id(number), options("kept"));
        store.add_inputs(id(number), 0, vec![vec![0; 1000].into()]);
        assert!(writer.write().await.unwrap());
        if number != 2 {
            disk.advance(Duration::from_millis(1));
            store.end_job(id(number), ended_as(id(number)));
            assert!(writer.write().await.unwrap());
        }
    }
    let is_kept = |number| store.job(id(number)).is_some();
    assert_eq!([1, 2, 3].map(is_kept), [true; 3], "whoever waited for their ends can come for them");
    let now = || time_of(disk.now_ms.load(Ordering::Relaxed));
    disk.advance(Duration::from_secs(60));
    let follower = store.job(id(3)).unwrap();
    store.expire_due(now());
    store.expire_due(now());
    assert!(writer.write().await.unwrap());
    assert_eq!([1, 2, 3].map(is_kept), [false, true, true], "the one that ended first and is not followed, no more than has to");
    assert!(store.ended_job(id(1)).unwrap().expired && !store.ended_job(id(3)).unwrap().expired);
    assert!(store.bytes_kept() <= 2500);
    // What has ended makes room in the end; what is open does not.
    drop(follower);
    store.add_inputs(id(2), 1, vec![vec![0; 1000].into()]);
    assert!(writer.write().await.unwrap());
    assert!(!store.is_full());
    store.add_inputs(id(2), 2, vec![vec![0; 1000].into()]);
    assert!(writer.write().await.unwrap());
    assert!(store.is_full());
    store.expire_due(now());
    assert!(writer.write().await.unwrap());
    assert_eq!([1, 2, 3].map(is_kept), [false, true, false]);
}

#[tokio::test]
async fn what_a_crash_left_of_an_expired_job_is_removed() {
    let mut disk = Disk::new();
    disk.config.retention = Duration::ZERO;
    let (store, mut writer, _) = disk.open().await;
    store.open_job(id(1), options("kept"));
    store.add_inputs(id(1), 0, vec![vec![0; 1 << 20].into(), Bytes::new()]);
    store.end_job(id(1), ended_as(id(1)));
    let Ok(()) = writer.append_all().await else { panic!("there is no fault") };
    // It was written that the job expired, and nothing was removed.
    assert_eq!(disk.records().await, ["epoch", "opened", "inputs", "ended", "expired"]);
    assert_eq!(disk.blobs.list().await.unwrap().len(), 1);

    let (store, mut writer, restored) = disk.open().await;
    assert!(restored.is_empty() && store.job(id(1)).is_none());
    assert!(writer.write().await.unwrap());
    assert_eq!(disk.records().await, ["ended", "expired", "epoch"]);
    assert!(disk.blobs.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_job_that_was_not_kept_and_is_opened_anew_ends_twice_and_is_listed_once() {
    let disk = Disk::new();
    let (store, mut writer, _) = disk.open().await;
    for name in ["first", "second"] {
        store.end_job(id(1), EndedAs { name: name.to_owned(), ..ended_as(id(1)) });
        disk.advance(Duration::from_secs(1));
        assert!(writer.write().await.unwrap());
    }
    assert_eq!(store.history().len(), 1);
    assert_eq!(store.ended_job(id(1)).unwrap().name, "second");
    assert_eq!(disk.records().await, ["epoch", "ended"]);
    assert_eq!(disk.open().await.0.history().len(), 1);
}

#[tokio::test]
async fn a_job_whose_second_end_waits_to_be_written_is_not_forgotten_for_the_first() {
    let mut disk = Disk::new();
    disk.config.history_jobs_max = 2;
    let (store, mut writer, _) = disk.open().await;
    let end = |number| {
        store.end_job(id(number), ended_as(id(number)));
        disk.advance(Duration::from_millis(1));
    };
    end(1);
    end(2);
    assert!(writer.write().await.unwrap());
    // The third is taken by the writer and stays with it; the first ends again after that.
    end(3);
    disk.ledger.inject([Fault::Full]);
    assert!(!writer.write().await.unwrap());
    end(1);
    assert!(writer.write().await.unwrap());
    assert_eq!(names(&store), [3, 1]);
    assert_eq!(names(&disk.open().await.0), [3, 1]);
}
