use super::*;

#[test]
fn sample_times_are_ordered_near_the_schedule_and_jittered() {
    let every = Duration::from_secs(10);
    let moments: Vec<f64> = (1..200).map(|taken| moment(every, taken).as_secs_f64()).collect();
    assert!(moments.windows(2).all(|pair| pair[0] < pair[1]), "{moments:?}");
    assert!(moments.iter().zip(1..).all(|(at, taken)| (at - f64::from(taken) * 10.0).abs() <= 4.0));
    let steps: std::collections::BTreeSet<u64> =
        moments.windows(2).map(|pair| (pair[1] - pair[0]) as u64).collect();
    assert!(steps.len() >= 8, "{steps:?}");
    assert!(moment(Duration::MAX, u64::MAX) > every);
}

#[test]
fn a_report_without_homes_is_compared() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/leak-critical.json");
    let mut report = crate::collect::replay::read(&std::fs::read(path).unwrap()).unwrap();
    let own = &mut report.servers[0];
    let families = &mut own.descriptors.as_mut().unwrap().sqlite;
    families[0].path = "/home/ann/.hermes/state.db".into();
    families.push(crate::model::SqliteFamily { path: "/srv/acme/clients.db".into(), ..families[0].clone() });
    let (plain, mut now) = (report.clone(), report.servers[0].clone());
    let hidden = crate::examine::redacted(report, redact::Level::Default, &[]);
    let then = hidden.servers[0].descriptors.as_ref().unwrap();
    assert_eq!(
        (&*then.sqlite[0].path, &*then.sqlite[1].path),
        ("~user-1/.hermes/state.db", "/srv/dir-1/file-1.db")
    );
    let both = [("old".to_owned(), hidden.clone()), ("older".to_owned(), hidden.clone())];
    compare(&mut now, SystemTime::now(), false, &both).unwrap();
    let samples = now.trend.unwrap().samples;
    assert_eq!(samples.len(), 3);
    // One is identified by its name. The other counts with all files, so it does not appear as new.
    assert_eq!(samples[0].families.len(), 1);
    assert_eq!(samples[0].families[0].path, "/home/ann/.hermes/state.db");
    assert!(samples.iter().all(|sample| sample.families == samples[0].families));
    // The same if the later of two reports has redacted names.
    let mut now = hidden.servers[0].clone();
    compare(&mut now, SystemTime::now(), true, &[("old".to_owned(), plain)]).unwrap();
    let samples = now.trend.unwrap().samples;
    assert_eq!(samples[0].families, samples[1].families);
}

#[test]
fn thinning_keeps_the_first_and_last_sample() {
    let mut samples: Vec<Sample> = (0..5000).map(|at_ms| Sample { at_ms, ..Sample::default() }).collect();
    thin_out(&mut samples);
    assert!(samples.len() < MAX_SAMPLES && samples[0].at_ms == 0);
    assert_eq!(samples.last().map(|sample| sample.at_ms), Some(4999));
}
