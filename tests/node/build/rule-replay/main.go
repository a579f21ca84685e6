// Command rule-replay evaluates rules over a past that is given as samples, as Prometheus would
// have done at the time: with its storage, its query engine and its rules, at the times at which a
// server evaluates each group. Months take minutes.
//
// One rule after the other is evaluated over all of the time, and not all rules at one time after
// the other. The results are the same, as no rule may read what a later one records. So a rule is
// one range query. An expression with `@ end()`, which means another time in each evaluation, is
// one instant query for each time; with --instant they all are. With --mark 10m, rules promise that
// they use `@ end()` only to ask for the last multiple of ten minutes: then all times between two of
// these are one range query.
//
// A sample of NaN stands for a scrape that failed or a target that is gone: Prometheus' staleness
// marker. Within each --skip, nothing is evaluated, as by a server that is down.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

const (
	// A head that never becomes a block takes samples of any age in the order of their series.
	headDuration   = 1000 * 24 * time.Hour
	samplesACommit = 10_000
)

type span struct{ from, to time.Time }

type spans []span

func (s *spans) String() string { return fmt.Sprint(*s) }

// Set reads FROM:TO, in seconds since 1970.
func (s *spans) Set(text string) error {
	from, to, _ := strings.Cut(text, ":")
	begin, err := strconv.ParseInt(from, 10, 64)
	if err != nil {
		return err
	}
	end, err := strconv.ParseInt(to, 10, 64)
	if err != nil {
		return err
	}
	*s = append(*s, span{time.Unix(begin, 0), time.Unix(end, 0)})
	return nil
}

func (s spans) contain(at time.Time) bool {
	for _, each := range s {
		if !at.Before(each.from) && at.Before(each.to) {
			return true
		}
	}
	return false
}

type options struct {
	samples, rules string
	from, to       time.Time
	interval       time.Duration
	skip           spans
	records        map[string]bool
	instant        bool
	mark           time.Duration
}

// series is a record, with its samples as pairs of a time in seconds and a value.
type series struct {
	Labels  labels.Labels `json:"labels"`
	Samples [][2]any      `json:"samples"`
}

// alert is one alert from when its expression held to when it did no more; times in seconds.
type alert struct {
	Labels     labels.Labels `json:"labels"`
	ActiveAt   float64       `json:"active_at"`
	FiredAt    *float64      `json:"fired_at"`
	ResolvedAt *float64      `json:"resolved_at"`
}

type output struct {
	Series []*series `json:"series"`
	Alerts []*alert  `json:"alerts"`
}

type replay struct {
	options options
	engine  *promql.Engine
	db      *tsdb.DB
	printed map[string]*series
	output  output
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "rule-replay:", err)
		os.Exit(1)
	}
}

func run() error {
	options := readOptions()
	folder, err := os.MkdirTemp("", "rule-replay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	db, err := openStorage(folder)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := load(db, options.samples); err != nil {
		return fmt.Errorf("%s: %w", options.samples, err)
	}
	it := &replay{options: options, engine: buildEngine(), db: db, printed: map[string]*series{}}
	if err := it.evaluateFile(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(it.output)
}

func readOptions() options {
	var o options
	var from, to int64
	var records string
	flag.StringVar(&o.samples, "samples", "", "OpenMetrics text, with a time for each sample")
	flag.StringVar(&o.rules, "rules", "", "file of rules; its path moves the times of evaluation")
	flag.Int64Var(&from, "from", 0, "first time, in seconds since 1970")
	flag.Int64Var(&to, "to", 0, "last time")
	flag.DurationVar(&o.interval, "interval", 30*time.Second, "of groups without one of their own")
	flag.Var(&o.skip, "skip", "FROM:TO in which nothing is evaluated; may be repeated")
	flag.StringVar(&records, "records", "", "names of records to print, with commas")
	flag.DurationVar(&o.mark, "mark", 0, "what the rules use @ end() for, see the top of main.go")
	flag.BoolVar(&o.instant, "instant", false, "evaluate all rules by instant queries")
	flag.Parse()
	o.from, o.to = time.Unix(from, 0), time.Unix(to, 0)
	o.records = map[string]bool{}
	for _, name := range strings.Split(records, ",") {
		o.records[name] = true
	}
	return o
}

func openStorage(folder string) (*tsdb.DB, error) {
	options := tsdb.DefaultOptions()
	options.WALSegmentSize = -1
	options.MinBlockDuration = headDuration.Milliseconds()
	options.MaxBlockDuration = headDuration.Milliseconds()
	options.RetentionDuration = headDuration.Milliseconds()
	return tsdb.Open(folder, slog.New(slog.DiscardHandler), nil, options, nil)
}

// buildEngine has the server's defaults, but for the limits that are for many users.
func buildEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples:               math.MaxInt,
		Timeout:                  time.Hour,
		LookbackDelta:            5 * time.Minute,
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
}

// load appends the samples of a file; those of one series have to be in order.
func load(db *tsdb.DB, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	to := &batch{db: db}
	refs := map[string]storage.SeriesRef{}
	lines := textparse.NewOpenMetricsParser(text, labels.NewSymbolTable())
	for {
		entry, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return to.commit()
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		name, at, v := lines.Series()
		if at == nil {
			return fmt.Errorf("%s has no time", name)
		}
		if math.IsNaN(v) {
			v = math.Float64frombits(value.StaleNaN)
		}
		var own labels.Labels
		ref, known := refs[string(name)]
		if !known {
			lines.Labels(&own)
		}
		if ref, err = to.append(ref, own, *at, v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !known {
			refs[string(name)] = ref
		}
	}
}

// batch appends, and commits now and then.
type batch struct {
	db       *tsdb.DB
	appender storage.Appender
	count    int
}

func (b *batch) append(
	ref storage.SeriesRef, of labels.Labels, at int64, v float64,
) (storage.SeriesRef, error) {
	if b.appender == nil {
		b.appender = b.db.Appender(context.Background())
	}
	ref, err := b.appender.Append(ref, of, at, v)
	if err != nil {
		return 0, err
	}
	if b.count++; b.count%samplesACommit == 0 {
		return ref, b.commit()
	}
	return ref, nil
}

func (b *batch) commit() error {
	if b.appender == nil {
		return nil
	}
	defer func() { b.appender = nil }()
	return b.appender.Commit()
}

func (r *replay) evaluateFile() error {
	manager := rules.NewManager(&rules.ManagerOptions{Logger: slog.New(slog.DiscardHandler)})
	path := r.options.rules
	groups, errs := manager.LoadGroups(r.options.interval, labels.EmptyLabels(), "", nil, false, path)
	if errs != nil {
		return errors.Join(errs...)
	}
	file, errs := rules.FileLoader{}.Load(path, false, model.UTF8Validation)
	if errs != nil {
		return errors.Join(errs...)
	}
	var ordered []*rules.Group
	for _, each := range file.Groups {
		ordered = append(ordered, groups[rules.GroupKey(path, each.Name)])
	}
	if err := checkOrder(ordered); err != nil {
		return err
	}
	for _, group := range ordered {
		times := r.listTimes(group)
		for _, rule := range group.Rules() {
			if err := r.evaluate(rule, group.Interval(), times); err != nil {
				return fmt.Errorf("%s, %s: %w", group.Name(), rule.Name(), err)
			}
		}
	}
	return nil
}

// checkOrder refuses rules of which one reads what it or a later one records.
func checkOrder(groups []*rules.Group) error {
	var all []rules.Rule
	for _, group := range groups {
		all = append(all, group.Rules()...)
	}
	for i, rule := range all {
		var reads []*parser.VectorSelector
		parser.Inspect(rule.Query(), func(node parser.Node, _ []parser.Node) error {
			if it, ok := node.(*parser.VectorSelector); ok {
				reads = append(reads, it)
			}
			return nil
		})
		for _, later := range all[i:] {
			if record, ok := later.(*rules.RecordingRule); ok && selects(reads, record) {
				return fmt.Errorf("%s reads %s, which comes later", rule.Name(), later.Name())
			}
		}
	}
	return nil
}

// selects tells whether a record may be among what selectors select; it may have further labels.
func selects(selectors []*parser.VectorSelector, record *rules.RecordingRule) bool {
	for _, selector := range selectors {
		found := selector.Name == record.Name()
		for _, matcher := range selector.LabelMatchers {
			label := record.Labels().Get(matcher.Name)
			found = found && (label == "" || matcher.Matches(label))
		}
		if found {
			return true
		}
	}
	return false
}

// listTimes are the times at which a server evaluates a group; they differ from group to group.
func (r *replay) listTimes(group *rules.Group) []time.Time {
	var times []time.Time
	at := group.EvalTimestamp(r.options.from.UnixNano())
	for ; !at.After(r.options.to); at = at.Add(group.Interval()) {
		if !at.Before(r.options.from) {
			times = append(times, at)
		}
	}
	return times
}

func (r *replay) evaluate(rule rules.Rule, interval time.Duration, times []time.Time) error {
	query, err := r.prepare(rule.Query(), interval, times)
	if err != nil {
		return err
	}
	if each, alerts := rule.(*rules.AlertingRule); alerts {
		each.SetRestored(true)
	}
	ctx, to := context.Background(), &batch{db: r.db}
	open := map[uint64]*alert{}
	before := map[uint64]labels.Labels{}
	for _, at := range times {
		if r.options.skip.contain(at) {
			continue
		}
		found, err := rule.Eval(ctx, 0, at, query, nil, 0)
		if err != nil {
			return err
		}
		if before, err = r.record(to, at, found, before); err != nil {
			return err
		}
		if each, alerts := rule.(*rules.AlertingRule); alerts {
			r.note(each, at, open)
		}
	}
	return to.commit()
}

// record appends results, and marks those stale that were there before and are no more.
func (r *replay) record(
	to *batch, at time.Time, found promql.Vector, before map[uint64]labels.Labels,
) (map[uint64]labels.Labels, error) {
	now := make(map[uint64]labels.Labels, len(found))
	for _, sample := range found {
		now[sample.Metric.Hash()] = sample.Metric
		if _, err := to.append(0, sample.Metric, sample.T, sample.F); err != nil {
			return nil, err
		}
		r.print(sample)
	}
	for hash, gone := range before {
		if _, still := now[hash]; still {
			continue
		}
		stale := math.Float64frombits(value.StaleNaN)
		if _, err := to.append(0, gone, timestamp.FromTime(at), stale); err != nil {
			return nil, err
		}
	}
	return now, nil
}

func (r *replay) print(sample promql.Sample) {
	if !r.options.records[sample.Metric.Get(labels.MetricName)] {
		return
	}
	key := sample.Metric.String()
	it, known := r.printed[key]
	if !known {
		it = &series{Labels: sample.Metric}
		r.printed[key] = it
		r.output.Series = append(r.output.Series, it)
	}
	// As text: JSON has no NaN.
	shown := strconv.FormatFloat(sample.F, 'g', -1, 64)
	it.Samples = append(it.Samples, [2]any{float64(sample.T) / 1000, shown})
}

// note keeps the times of each alert of a rule.
func (r *replay) note(rule *rules.AlertingRule, at time.Time, open map[uint64]*alert) {
	active := map[uint64]bool{}
	for _, each := range rule.ActiveAlerts() {
		hash := each.Labels.Hash()
		active[hash] = true
		it, known := open[hash]
		if !known {
			it = &alert{Labels: each.Labels, ActiveAt: seconds(each.ActiveAt)}
			open[hash] = it
			r.output.Alerts = append(r.output.Alerts, it)
		}
		if each.State == rules.StateFiring && it.FiredAt == nil {
			fired := seconds(each.FiredAt)
			it.FiredAt = &fired
		}
	}
	for hash, it := range open {
		if !active[hash] {
			resolved := seconds(at)
			it.ResolvedAt = &resolved
			delete(open, hash)
		}
	}
}

func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

func dependsOnEnd(expression parser.Expr) bool {
	found := false
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		switch it := node.(type) {
		case *parser.VectorSelector:
			found = found || it.StartOrEnd != 0
		case *parser.SubqueryExpr:
			found = found || it.StartOrEnd != 0
		}
		return nil
	})
	return found
}

// prepare makes the query function of one rule, which is asked for one time after the other.
func (r *replay) prepare(
	expression parser.Expr, interval time.Duration, times []time.Time,
) (rules.QueryFunc, error) {
	instant := rules.EngineQueryFunc(r.engine, r.db)
	switch {
	case r.options.instant || len(times) == 0:
		return instant, nil
	case !dependsOnEnd(expression):
		return r.queryRange(expression.String(), interval, times[0], times[len(times)-1])
	case r.options.mark == 0:
		return instant, nil
	default:
		return r.queryBetweenMarks(expression.String(), interval), nil
	}
}

// queryBetweenMarks asks for all times up to the next mark when it is asked for the first of them.
func (r *replay) queryBetweenMarks(expression string, interval time.Duration) rules.QueryFunc {
	var answer rules.QueryFunc
	var last time.Time
	return func(ctx context.Context, asked string, at time.Time) (promql.Vector, error) {
		if at.After(last) {
			left := at.Truncate(r.options.mark).Add(r.options.mark - 1).Sub(at)
			last = at.Add(left.Truncate(interval))
			var err error
			if answer, err = r.queryRange(expression, interval, at, last); err != nil {
				return nil, err
			}
		}
		return answer(ctx, asked, at)
	}
}

// queryRange answers for times in a range, one after the other, from one range query.
func (r *replay) queryRange(
	expression string, interval time.Duration, first, last time.Time,
) (rules.QueryFunc, error) {
	ctx := context.Background()
	query, err := r.engine.NewRangeQuery(ctx, r.db, nil, expression, first, last, interval)
	if err != nil {
		return nil, err
	}
	matrix, err := query.Exec(ctx).Matrix()
	if err != nil {
		return nil, err
	}
	next := make([]int, len(matrix))
	return func(_ context.Context, asked string, at time.Time) (promql.Vector, error) {
		if asked != expression {
			return nil, fmt.Errorf("a template asks %q", asked)
		}
		var found promql.Vector
		now := timestamp.FromTime(at)
		for i, each := range matrix {
			for next[i] < len(each.Floats) && each.Floats[next[i]].T < now {
				next[i]++
			}
			if next[i] < len(each.Floats) && each.Floats[next[i]].T == now {
				sample := promql.Sample{Metric: each.Metric, T: now, F: each.Floats[next[i]].F}
				found = append(found, sample)
			}
		}
		return found, nil
	}, nil
}
