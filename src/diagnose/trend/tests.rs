//! Saw-teeth, generated and recorded, which must never be reported as a leak; and leaks, which must always be.

use super::recorded::{MIXED, Recorded, STAIRS, TEETH};
use super::*;
use crate::model::FamilySample;
use crate::model::{DescriptorFinding, Finding, Raised, Severity, id};

/// A small generator with a fixed seed, so that every run has the same series.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next() as f64 / (1u64 << 31) as f64
    }
}

/// A saw-tooth sampled at `times`; with `partial`, some falls are incomplete.
fn tooth_at(random: &mut Random, times: &[u64], partial: bool, uneven: bool) -> Vec<u64> {
    let floor = random.between(0.0, 20.0);
    let amplitude = random.between(10.0, 60.0);
    let period = random.between(5_000.0, 600_000.0);
    let mut start = -random.between(0.0, period);
    let mut length = period;
    let mut from = 0.0;
    let mut values = Vec::new();
    for ms in times {
        while *ms as f64 >= start + length {
            start += length;
            length = if uneven { period * random.between(0.8, 1.2) } else { period };
            from =
                if partial && random.next().is_multiple_of(4) { amplitude * random.between(0.0, 0.6) } else { 0.0 };
        }
        let phase = (*ms as f64 - start) / length;
        values.push((floor + from + (amplitude - from) * phase) as u64);
    }
    values
}

/// Sampling times: even, slightly uneven or very uneven intervals.
fn times(random: &mut Random, count: usize, step: f64, jitter: f64) -> Vec<u64> {
    let mut at = 0.0;
    (0..count)
        .map(|_| {
            let now = at as u64;
            at += step * (1.0 + random.between(-jitter, jitter));
            now
        })
        .collect()
}

/// Shapes of `count` generated saw-teeth, under each of several limits.
fn judge_made(count: u64, start: u64) -> Vec<Growth> {
    let mut random = Random(start);
    let mut growths = Vec::new();
    for index in 0..count {
        let step = random.between(1_000.0, 120_000.0);
        let jitter = [0.0, 0.02, 0.5][(index % 3) as usize];
        let samples = 3 + (random.next() % 58) as usize;
        let times = times(&mut random, samples, step, jitter);
        let values = tooth_at(&mut random, &times, index % 4 == 0, index % 5 == 0);
        for limit in [None, Some(128), Some(256), Some(1024)] {
            let growth = growth(&times, &values, limit);
            assert!(!growth.shape.is_growth(), "{growth:?} of {times:?} {values:?}");
            growths.push(growth);
        }
    }
    growths
}

#[test]
fn made_saw_teeth_are_never_a_leak() {
    let growths = judge_made(200 * 20, 7);
    let named = growths.iter().filter(|growth| matches!(growth.shape, Shape::SawTooth | Shape::Burst)).count();
    assert!(named * 10 > growths.len() * 8, "{named} of {} are told", growths.len());
    assert!(growths.iter().all(|growth| (growth.shape == Shape::Undecided) == growth.missing.is_some()));
}

/// For manual runs: 200 saw-teeth with a thousand choices of each parameter.
#[test]
#[ignore = "takes several seconds"]
fn many_more_made_saw_teeth_are_never_a_leak() {
    judge_made(200 * 1000, 11);
}

#[test]
fn samples_that_alias_with_the_period_are_never_a_leak() {
    for step in [2_000_u64, 5_000, 30_000, 60_000, 120_000] {
        for periods in 1..40 {
            // Each sample is a hundredth of a period later in its tooth than the one before.
            let period = step as f64 / (f64::from(periods) + 0.01);
            if period < 5_000.0 {
                continue;
            }
            let times: Vec<u64> = (0..90).map(|index| index * step).collect();
            let values: Vec<u64> =
                times.iter().map(|ms| (60.0 * (*ms as f64 / period).fract()) as u64 + 10).collect();
            for to in 3..=times.len() {
                let growth = growth(&times[..to], &values[..to], Some(256));
                assert!(!growth.shape.is_growth(), "{growth:?}");
            }
        }
    }
}

#[test]
fn recorded_saw_teeth_are_never_a_leak() {
    for series in TEETH {
        let most = series.2.iter().zip(series.3).map(|(db, wal)| db + wal + 21).max().unwrap();
        for stride in [1, 2, 3, 5, 8, 13, 21] {
            for from in (0..series.2.len()).step_by(7) {
                for to in (from + 3 * stride..=series.2.len()).step_by(9) {
                    for limit in [None, Some(1024), Some(256)] {
                        // A series that does not fit below the limit is a leak in effect.
                        if limit.is_some_and(|limit| most >= limit) {
                            continue;
                        }
                        for growth in judge_trend(&recorded(series, from, to, stride, limit)) {
                            assert!(!growth.shape.is_growth(), "{} {from}..{to} / {stride}: {growth:?}", series.0);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_saw_tooth_that_reaches_the_limit_is_a_leak_in_effect() {
    let series = TEETH.iter().find(|series| series.0.starts_with("3.13.0 HTTP server, 5/s")).unwrap();
    let peak = series.2.iter().zip(series.3).position(|(db, wal)| db + wal + 21 >= 240).unwrap();
    let trend = recorded(series, 0, peak, 1, Some(256));
    let found = findings(&trend, &judge_trend(&trend));
    assert_eq!(found[0].id(), id::STATE_DB_HANDLE_LEAK);
    assert_eq!(found[0].severity, Severity::Critical);
}

#[test]
fn recorded_staircases_are_found_with_their_rate() {
    let series = STAIRS.iter().find(|series| series.0.ends_with("kept, 1/s")).unwrap();
    let stride = series.2.len() / 10;
    let trend = recorded(series, 0, stride * 9 + 1, stride, Some(256));
    assert_eq!(trend.samples.len(), 10);
    let growths = judge_trend(&trend);
    assert_eq!(growths.len(), 2, "all descriptors and the database");
    for growth in growths {
        assert_eq!(growth.shape, Shape::Staircase);
        let rate = growth.per_hour.unwrap();
        assert!((rate / 7_200.0 - 1.0).abs() < 0.1, "{rate}");
        assert!(growth.per_hour_low.unwrap() <= rate && rate <= growth.per_hour_high.unwrap());
    }
    for series in STAIRS {
        for to in 3..series.2.len() {
            for growth in judge_trend(&recorded(series, 0, to, 1, Some(256))) {
                assert!(matches!(growth.shape, Shape::Staircase | Shape::Undecided | Shape::Flat), "{growth:?}");
            }
        }
    }
}

#[test]
fn recorded_leaks_below_a_saw_tooth_are_found_once_the_floors_have_risen() {
    let series = MIXED.iter().find(|series| series.0.ends_with(" 6/s")).unwrap();
    let growths = judge_trend(&recorded(series, 0, series.2.len(), 1, Some(256)));
    let family = growths.iter().find(|growth| matches!(growth.series, Series::Family(_))).unwrap();
    assert!(family.shape.is_growth() && family.falls > 0, "{family:?}");
    // 1.5 connections per second are kept, with two handles each.
    let rate = family.per_hour.unwrap();
    assert!((rate / 10_800.0 - 1.0).abs() < 0.25, "{rate}");
}

#[test]
fn a_leak_below_a_saw_tooth_raises_the_floor() {
    let times: Vec<u64> = (0..400).map(|index| index * 5_000).collect();
    let values: Vec<u64> = times.iter().map(|ms| 30 + ms * 720 / 3_600_000 + ms / 1_000 % 75).collect();
    let found = growth(&times, &values, Some(512));
    assert_eq!(found.shape, Shape::RisingFloor);
    let (rate, low, high) = (found.per_hour.unwrap(), found.per_hour_low.unwrap(), found.per_hour_high.unwrap());
    assert!((rate - 720.0).abs() < 72.0 && low <= 720.0 && 720.0 <= high, "{low} {rate} {high}");
    let called = (3..400).find(|to| growth(&times[..*to], &values[..*to], Some(512)).shape.is_growth()).unwrap();
    let early = growth(&times[..called / 2], &values[..called / 2], Some(512));
    assert_eq!(early.shape, Shape::Undecided);
    assert!(early.missing.unwrap().to_string().contains("more falls"));
    assert!(called <= 300, "after {called} samples");
}

/// Two handles every five seconds, sampled every `step` ms for `for_ms`.
fn idle_leak(step: u64, for_ms: u64, soft_limit: u64) -> Trend {
    let samples = (0..=for_ms / step)
        .map(|index| {
            let pairs = index * step / 5_000;
            Sample {
                at_ms: index * step,
                open: Some(40 + 2 * pairs),
                walked: true,
                kinds: [("regular".into(), 8 + 2 * pairs)].into(),
                families: vec![FamilySample { path: "/h/state.db".into(), db: 1 + pairs, wal: pairs, shm: 1 }],
                connected: Some(0),
                cpu_ms: None,
            }
        })
        .collect();
    Trend { soft_limit: Some(soft_limit), samples }
}

#[test]
fn an_idle_leak_is_found_with_time_to_spare() {
    let seconds = |limit| {
        (1..400)
            .map(|index| index * 10)
            .find(|seconds| {
                let trend = idle_leak(10_000, seconds * 1000, limit);
                judge_trend(&trend).iter().any(|growth| growth.shape.is_growth())
            })
            .unwrap()
    };
    assert!(seconds(256) <= 460, "{} s", seconds(256));
    assert!(seconds(1024) <= 1_150, "{} s", seconds(1024));

    let trend = idle_leak(10_000, 480_000, 256);
    let growths = judge_trend(&trend);
    assert!(growths.iter().all(|growth| growth.idle == Some(true)));
    assert!(
        !growths.iter().any(|growth| matches!(&growth.series, Series::Kind(_))),
        "the files are the database's"
    );
    let found = findings(&trend, &growths);
    let facts = |found: &Raised| match &found.finding {
        Finding::Descriptors(finding) => match finding.as_ref() {
            DescriptorFinding::HandleGrowth { facts, .. } => (facts.clone(), 0),
            DescriptorFinding::Growth { facts, parts } => (facts.clone(), parts.len()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    for (found, parts) in found.iter().zip([0, 1]) {
        let (facts, count) = facts(found);
        assert_eq!((facts.growth.per_hour, facts.growth.to_limit_ms), (Some(1440.0), Some(60_000)));
        assert_eq!((facts.soft_limit, facts.growth.idle, count), (Some(256), Some(true), parts));
    }
    assert!(found.iter().all(|finding| finding.severity == Severity::Critical));
    assert_eq!(found[1].caused_by, [id::STATE_DB_HANDLE_LEAK]);
}

#[test]
fn a_slow_leak_is_found_by_a_long_watch_at_uneven_times() {
    let mut random = Random(3);
    let uneven = times(&mut random, 150, 60_000.0, 0.5);
    let even: Vec<u64> = (0..150).map(|index| index * 60_000).collect();
    let leak = |times: &[u64]| times.iter().map(|ms| 80 + ms * 18 / 3_600_000).collect::<Vec<u64>>();
    let found = growth(&uneven, &leak(&uneven), Some(256));
    assert_eq!(found.shape, Shape::Staircase);
    let rate = found.per_hour.unwrap();
    assert!((rate - 18.0).abs() < 1.8, "{rate}");
    let open = growth(&even, &leak(&even), Some(256));
    assert_eq!(open.shape, Shape::Undecided);
    assert!(open.missing.unwrap().to_string().contains("uneven"));
    // The same with temporary descriptors.
    let times = times(&mut random, 200, 60_000.0, 0.5);
    let noisy: Vec<u64> = leak(&times).iter().map(|value| value + random.next() % 4).collect();
    let found = growth(&times, &noisy, Some(256));
    assert!(found.shape.is_growth(), "{found:?}");
}

/// One connection leaked every 30 s, as by a browser tab that polls: a tooth of 72 of them lasts 36 minutes.
#[test]
fn a_slow_saw_tooth_is_no_leak_while_it_rises() {
    let mut random = Random(5);
    let tooth = |ms: u64| 60 + ms / 30_000 % 72 * 2;
    for minutes in [34, 60, 110, 150, 300] {
        let times = times(&mut random, minutes * 2, 30_000.0, 0.5);
        let values: Vec<u64> = times.iter().map(|ms| tooth(*ms)).collect();
        let found = growth(&times, &values, Some(1024));
        assert!(!found.shape.is_growth(), "{minutes}: {found:?}");
    }
}

#[test]
fn three_reports_of_a_day_show_a_leak() {
    let found = growth(&[0, 18_000_000, 36_000_000], &[100, 220, 340], Some(512));
    assert!(found.shape == Shape::Undecided, "240 may be a tooth within a longer one");
    let found = growth(&[0, 18_000_000, 36_000_000], &[100, 230, 360], Some(512));
    assert_eq!((found.shape, found.per_hour), (Shape::Staircase, Some(26.0)));
}

#[test]
fn two_samples_decide_nothing() {
    let found = growth(&[0, 60_000], &[10, 400], Some(512));
    assert_eq!(found.shape, Shape::Undecided);
    assert_eq!(found.missing, Some(Note::ThreeSamples { count: 2 }));
    assert_eq!(growth(&[], &[], None).shape, Shape::Undecided);
    assert_eq!(growth(&[5, 5, 5, 5], &[1, 900, 1_800, 2_700], Some(256)).shape, Shape::Undecided);
}

#[test]
fn levels_bursts_steps_and_warm_ups_are_no_leaks() {
    let times: Vec<u64> = (0..40).map(|index| index * 60_000 + index % 7 * 9_000).collect();
    let shape = |value: &dyn Fn(u64) -> u64| {
        let values: Vec<u64> = (0..40).map(value).collect();
        growth(&times, &values, Some(256)).shape
    };
    assert_eq!(shape(&|index| 60 + index * 7 % 5), Shape::Flat);
    assert_eq!(shape(&|_| 60), Shape::Flat);
    assert_eq!(shape(&|index| if (10..15).contains(&index) { 200 } else { 40 }), Shape::Burst);
    assert_eq!(shape(&|index| if index < 20 { 20 } else { 230 }), Shape::Undecided);
    assert_eq!(shape(&|index| 20 + 20 * index.min(10)), Shape::Undecided);
    assert!(!shape(&|index| 240 - index * 5).is_growth());
}

#[test]
fn clients_that_come_are_no_leak() {
    let sample = |index: u64, walked: bool| Sample {
        at_ms: index * 5_000,
        open: Some(40 + 12 * index),
        walked,
        kinds: if walked { [(ESTABLISHED.into(), 12 * index)].into() } else { Default::default() },
        connected: walked.then_some(12 * index),
        ..Sample::default()
    };
    for walked in [true, false] {
        let trend = Trend { soft_limit: Some(256), samples: (0..18).map(|index| sample(index, walked)).collect() };
        assert!(judge_trend(&trend).iter().all(|growth| !growth.shape.is_growth()), "{walked}");
    }
}

#[test]
fn the_kind_that_grows_is_named() {
    let samples = (0..20)
        .map(|index| Sample {
            at_ms: index * 60_000,
            open: (index % 5 != 3).then_some(40 + 20 * index),
            walked: true,
            kinds: [("pipe".into(), 4 + 20 * index), ("regular".into(), 9)].into(),
            connected: Some(3),
            ..Sample::default()
        })
        .collect();
    let trend = Trend { soft_limit: Some(4096), samples };
    let growths = judge_trend(&trend);
    // 360 is within a long saw-tooth, and the limit is high enough for one.
    assert!(growths.iter().all(|growth| growth.shape == Shape::Undecided && growth.idle == Some(false)));
    let trend = Trend { soft_limit: Some(512), ..trend };
    let found = findings(&trend, &judge_trend(&trend));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].severity, Severity::Critical);
    let Finding::Descriptors(finding) = &found[0].finding else { panic!("{found:?}") };
    let DescriptorFinding::Growth { facts, parts } = finding.as_ref() else { panic!("{finding:?}") };
    assert_eq!((facts.growth.per_hour, facts.growth.to_limit_ms), (Some(1200.0), Some(276_000)));
    assert_eq!(parts.first().map(|part| &part.series), Some(&Series::Kind("pipe".into())));
}

#[test]
fn a_saw_tooth_is_reported_with_its_margin() {
    let series = TEETH.iter().find(|series| series.0.starts_with("3.11.7 HTTP server, 5/s")).unwrap();
    let trend = recorded(series, 0, series.2.len(), 1, Some(256));
    let found = findings(&trend, &judge_trend(&trend));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].id(), id::DEFERRED_CLOSE);
    let Finding::Descriptors(finding) = &found[0].finding else { panic!("{found:?}") };
    let DescriptorFinding::DeferredClose { facts, most_open, .. } = finding.as_ref() else { panic!("{finding:?}") };
    assert_eq!((facts.soft_limit, most_open.is_some()), (Some(256), true));
}

#[test]
fn order_and_huge_numbers_do_not_matter() {
    let times: Vec<u64> = (0..30).map(|index| index * 60_000).collect();
    let values: Vec<u64> = (0..30).map(|index| 20 + index * 10).collect();
    let turned = growth(
        &times.iter().rev().copied().collect::<Vec<_>>(),
        &values.iter().rev().copied().collect::<Vec<_>>(),
        Some(512),
    );
    assert_eq!(turned, growth(&times, &values, Some(512)));
    assert_eq!(turned.shape, Shape::Staircase);
    let huge = [u64::MAX, 0, u64::MAX - 1, 5, u64::MAX];
    growth(&huge, &huge, Some(u64::MAX));
    growth(&[0, 1, u64::MAX], &[0, u64::MAX / 2, u64::MAX], Some(1));
}

#[test]
fn series_are_strings_in_json() {
    for (series, text) in [
        (Series::Open, "\"open\""),
        (Series::Family("/h/a:b.db".into()), "\"family:/h/a:b.db\""),
        (Series::Kind("pipe".into()), "\"kind:pipe\""),
    ] {
        assert_eq!(serde_json::to_string(&series).unwrap(), text);
        assert_eq!(serde_json::from_str::<Series>(text).unwrap(), series);
    }
    assert_eq!(serde_json::to_string(&Shape::RisingFloor).unwrap(), "\"rising-floor\"");
}

proptest::proptest! {
    #[test]
    fn never_panics(
        rows in proptest::collection::vec(
            (proptest::prelude::any::<u64>(), proptest::option::of(proptest::prelude::any::<u64>()), 0u64..300, 0u64..300, 0u8..4),
            0..60,
        ),
        limit in proptest::option::of(proptest::prelude::any::<u64>()),
        scale in 0u32..64,
    ) {
        let samples = rows
            .iter()
            .map(|(at, open, db, wal, flags)| Sample {
                at_ms: at >> scale,
                open: open.map(|open| open >> scale),
                walked: flags & 1 == 1,
                kinds: [("pipe".into(), *db), ("regular".into(), *wal), (ESTABLISHED.into(), at >> scale)].into(),
                families: vec![FamilySample { path: "x".into(), db: db << (scale / 2), wal: wal << (scale / 2), shm: 1 }; 2],
                connected: (flags & 2 == 2).then_some(at >> 1 >> scale),
                cpu_ms: None,
            })
            .collect();
        let trend = Trend { soft_limit: limit, samples };
        let growths = judge_trend(&trend);
        findings(&trend, &growths);
        for growth in growths {
            proptest::prop_assert!(growth.shape == Shape::Undecided || growth.missing.is_none());
            proptest::prop_assert!(growth.per_hour.is_none_or(f64::is_finite));
        }
    }
}

/// A recorded series, or a part of it, as samples of a server with 20 other descriptors.
fn recorded(series: &Recorded, from: usize, to: usize, stride: usize, soft_limit: Option<u64>) -> Trend {
    let samples = (from..to)
        .step_by(stride)
        .map(|index| Sample {
            at_ms: (index - from) as u64 * series.1,
            open: Some(series.2[index] + series.3[index] + 21),
            walked: true,
            families: vec![FamilySample {
                path: "/h/state.db".into(),
                db: series.2[index],
                wal: series.3[index],
                shm: 1,
            }],
            ..Sample::default()
        })
        .collect();
    Trend { soft_limit, samples }
}
