package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer"
)

// maxURL bounds what is parsed.
const maxURL = 4096

// parse reads the URL. Its error holds nothing of it: there may be a password in it.
func parse(text string, o *Options) (*pgxpool.Config, error) {
	const op = "postgres.Open"
	u, err := url.Parse(text)
	if err != nil || len(text) > maxURL || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "" {
		return nil, coffer.Errorf(op, coffer.Invalid,
			"the URL of the database is malformed; write postgres://user:password@host:port/database")
	}
	parameters, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "a parameter in the URL of the database is malformed")
	}
	if strings.Trim(u.Path, "/") == "" && parameters.Get("dbname") == "" && parameters.Get("service") == "" {
		return nil, coffer.Errorf(op, coffer.Invalid, "the URL names no database; write postgres://user@host:port/database")
	}
	config, err := pgxpool.ParseConfig(text)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "a parameter in the URL of the database is malformed or out of range")
	}
	o.defaults(parameters.Has("pool_max_conns"))
	if o.Connections != 0 {
		config.MaxConns = int32(min(o.Connections, 10_000))
	}
	config.MaxConns = max(config.MaxConns, 2)
	config.MinConns = min(config.MinConns, config.MaxConns)
	config.PingTimeout = 5 * time.Second
	c := config.ConnConfig
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 10 * time.Second
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = application
	}
	// Whoever gives up a read need not cost a connection.
	c.BuildContextWatcherHandler = func(p *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: p, DeadlineDelay: time.Second}
	}
	// Every statement of the package has a name on the server, made on first use. There are fewer than this.
	c.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	c.StatementCacheCapacity = 256
	return config, nil
}

// settings are what each connection is set to, where the server knows it. Nothing here changes what a statement does:
// those that end in "off" keep the planner to indexes, since every statement but those of Check and Rebuild has one for
// what it asks, and a plan made while a table was small is kept when it has become large.
var settings = []string{
	"SET default_transaction_isolation = 'read committed'",
	"SET client_min_messages = 'warning'",
	"SET plan_cache_mode = 'force_generic_plan'",
	"SET jit = 'off'",
	"SET enable_seqscan = 'off'",
	"SET enable_bitmapscan = 'off'",
	"SET enable_hashjoin = 'off'",
	"SET enable_mergejoin = 'off'",
}

// atLarge returns what undoes the settings that keep the planner to indexes, for those who read whole tables.
func atLarge(set string) string {
	var all strings.Builder
	for one := range strings.SplitSeq(set, ";") {
		if strings.HasPrefix(one, "SET enable_") {
			all.WriteString(strings.Replace(one, "off", "on", 1) + ";")
		}
	}
	return all.String()
}

// maxSkew is how far the database's clock may be from ours.
const maxSkew = 5 * time.Minute

// prepare looks at the server, migrates the tables to the format of this package, and returns how to set up
// connections.
func prepare(ctx context.Context, config *pgx.ConnConfig, o *Options) (set string, err error) {
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return "", openFailure(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	fail := func(err error) (string, error) {
		if ctx.Err() != nil {
			return "", coffer.E("postgres.Open", coffer.Unavailable, ctx.Err())
		}
		return "", openFailure(err)
	}
	if err := compareClocks(ctx, c, o.Now); err != nil {
		return fail(err)
	}
	var readOnly string
	if err := c.QueryRow(ctx, "SHOW transaction_read_only", pgx.QueryExecModeSimpleProtocol).Scan(&readOnly); err != nil {
		return fail(err)
	}
	if readOnly == "on" {
		return fail(errReadOnly())
	}
	if err := migrate(ctx, c); err != nil {
		return fail(err)
	}
	if err := checkRights(ctx, c); err != nil {
		return fail(err)
	}
	var all strings.Builder
	bounds := []string{
		fmt.Sprintf("SET statement_timeout = %d", o.Timeout.Milliseconds()),
		fmt.Sprintf("SET lock_timeout = %d", o.Timeout.Milliseconds()),
		// What a process that hangs has locked is free again after this.
		fmt.Sprintf("SET idle_in_transaction_session_timeout = %d", (2 * hold).Milliseconds()),
	}
	for _, one := range append(bounds, settings...) {
		switch _, err := c.Exec(ctx, one, pgx.QueryExecModeSimpleProtocol); {
		case err == nil:
			all.WriteString(one + ";")
		case code(err) == "":
			return fail(err)
		}
	}
	return all.String(), nil
}

func compareClocks(ctx context.Context, c *pgx.Conn, now func() time.Time) error {
	before := now()
	var theirs time.Time
	if err := c.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
		return err
	}
	after := now()
	if theirs.Before(before.Add(-maxSkew)) || theirs.After(after.Add(maxSkew)) {
		return coffer.Errorf("postgres.Open", coffer.Unavailable,
			"the clocks of this machine and of the database server differ by more than five minutes; set them right")
	}
	return nil
}

// checkRights asks whether the user may do what this package does.
func checkRights(ctx context.Context, c *pgx.Conn) error {
	var may bool
	err := c.QueryRow(ctx, `SELECT bool_and(has_table_privilege(t.name, r.name))
		FROM unnest($1::text[]) AS t(name) CROSS JOIN unnest($2::text[]) AS r(name)`,
		tables, []string{"SELECT", "INSERT", "UPDATE", "DELETE"}).Scan(&may)
	if err != nil {
		return err
	}
	if !may {
		return &pgconn.PgError{Code: "42501"}
	}
	return nil
}

// tables are those of the schema but for the format's.
var tables = []string{"vaults", "documents", "revisions", "tags", "feed", "chunks", "once"}

// schema holds the migrations: NNNN.sql brings the tables from format NNNN-1 to NNNN. One that was released never
// changes.
//
//go:embed schema/*.sql
var schema embed.FS

// format is the version of the tables that this package writes and reads.
const format = 2

// maxMigrations bounds how often opening is tried anew because another process was migrating, too.
const maxMigrations = 10

// migrate brings the tables to the format, each step in a transaction that holds the row of the format.
func migrate(ctx context.Context, c *pgx.Conn) error {
	const op = "postgres.Open"
	for try := 1; ; try++ {
		version, err := readFormat(ctx, c)
		switch {
		case err != nil:
			return err
		case version == format:
			return nil
		case version > format:
			return coffer.Errorf(op, coffer.Invalid,
				"the database was written by a later version of this program; run that one, or name another database")
		}
		if version == 0 {
			if taken, err := anyTable(ctx, c); err != nil {
				return err
			} else if taken {
				// Unless another process has just made them.
				if version, err := readFormat(ctx, c); err != nil {
					return err
				} else if version > 0 {
					continue
				}
				return coffer.Errorf(op, coffer.Corrupt,
					"the database has tables of other programs where ours would be; name an empty database, or another search_path")
			}
		}
		err = migrateTo(ctx, c, version+1)
		switch code(err) {
		case "":
			if err != nil {
				return err
			}
		case "42P07", "42710", "23505", "40001", "40P01", "XX000", "55P03": // another process was faster
			if try == maxMigrations {
				return err
			}
			if !pause(ctx, try) {
				return ctx.Err()
			}
		default:
			return err
		}
	}
}

// readFormat returns the version of the tables, 0 if there are none.
func readFormat(ctx context.Context, c *pgx.Conn) (version int64, err error) {
	err = c.QueryRow(ctx, "SELECT version FROM coffer_format WHERE one = 1",
		pgx.QueryExecModeSimpleProtocol).Scan(&version)
	switch {
	case code(err) == "42P01":
		return 0, nil
	case code(err) == "42703" || errors.Is(err, pgx.ErrNoRows) || err == nil && version < 1:
		return 0, coffer.Errorf("postgres.Open", coffer.Corrupt, "the record of the store's format is damaged")
	}
	return version, err
}

// anyTable reports whether a table has the name of one of ours.
func anyTable(ctx context.Context, c *pgx.Conn) (taken bool, err error) {
	err = c.QueryRow(ctx, `SELECT count(*) > 0 FROM information_schema.tables
		WHERE table_schema = current_schema() AND table_name = ANY($1::text[])`, tables).Scan(&taken)
	return taken, err
}

// migrateTo brings the tables to a version from the one before it, or does nothing.
func migrateTo(ctx context.Context, c *pgx.Conn, version int64) (err error) {
	sql, err := schema.ReadFile(fmt.Sprintf("schema/%04d.sql", version))
	if err != nil {
		return err
	}
	run := func(sql string, args ...any) error {
		_, err := c.Exec(ctx, sql, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
		return err
	}
	if err := run("BEGIN"); err != nil {
		return err
	}
	defer func() {
		if err != nil && !c.IsClosed() {
			_, _ = c.Exec(context.WithoutCancel(ctx), "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
		}
	}()
	if version > 1 {
		var now int64
		err := c.QueryRow(ctx, "SELECT version FROM coffer_format WHERE one = 1 FOR UPDATE",
			pgx.QueryExecModeSimpleProtocol).Scan(&now)
		if err != nil {
			return err
		}
		if now != version-1 { // another process was faster
			return run("ROLLBACK")
		}
	}
	if _, err := c.PgConn().Exec(ctx, string(sql)).ReadAll(); err != nil {
		return err
	}
	if err := run("UPDATE coffer_format SET version = $1 WHERE one = 1", version); err != nil {
		return err
	}
	return run("COMMIT")
}
