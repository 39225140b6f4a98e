package postgres

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDialect reads all SQL of the package: the migrations, and the statements in the Go files. Only what PostgreSQL,
// CockroachDB and YugabyteDB have in common is allowed. It goes by words: every word must be a keyword or a function of
// the list below, or a name of ours. What else one of them lacks is forbidden by pattern.
func TestDialect(t *testing.T) {
	texts := statements(t)
	if len(texts) < 50 {
		t.Fatalf("only %d statements found", len(texts))
	}
	for where, sql := range texts {
		for _, complaint := range lint(sql) {
			t.Errorf("%s: %s", where, complaint)
		}
	}
}

// TestLint shows that the lint finds what it should.
func TestLint(t *testing.T) {
	for _, bad := range []string{
		`SELECT pg_advisory_lock(1)`, `CREATE TRIGGER x BEFORE INSERT ON vaults`, `SELECT nextval('x')`,
		`CREATE UNLOGGED TABLE vaults (vault uuid)`, `SELECT ctid FROM vaults`, `CREATE EXTENSION vaults`,
		`DO $$ BEGIN END $$`, `CREATE TABLE vaults (vault bigserial)`, `LISTEN vaults`, `SELECT 1 FROM tags TABLESAMPLE x`,
		`MERGE INTO vaults`, `ALTER TABLE revisions ALTER COLUMN body SET STORAGE EXTERNAL`, `SELECT max(vault) FROM vaults`,
		`CREATE INDEX x ON feed USING gin (rev)`, `SELECT * FROM vaults FOR UPDATE SKIP LOCKED`,
		`DECLARE c CURSOR FOR SELECT 1`,
		`SELECT 1 FROM vaults WHERE vault ~ 'x'`, `SAVEPOINT x`, `LOCK TABLE vaults`, `TRUNCATE vaults`,
		`CREATE TABLE vaults (vault uuid, EXCLUDE (vault WITH =))`, `SELECT now() AT TIME ZONE 'x'`,
	} {
		if len(lint(bad)) == 0 {
			t.Errorf("%s: nothing found", bad)
		}
	}
}

// lenient statements may fail on some servers, and what follows then is in the code: the settings of connections, the
// size of the database, and notifications.
func lenient(sql string) bool {
	for _, one := range settings {
		if sql == one {
			return true
		}
	}
	return sql == diskSQL || sql == listenSQL || sql == notifySQL || strings.HasPrefix(sql, "SET ")
}

// words that all three know, in the forms used here.
var words = fields(`
	add all and any as begin between by case cast check coalesce commit conflict constraint create cross delete desc
		distinct do
	else end exists false filter first for from group having in index information_schema insert into is isolation join key
	lateral left level limit local not nothing null on only or order ordinality over partition primary read recursive
		references
	repeatable returning rollback select set show table then true union unique unnest update using values when where
		with write
	committed excluded table_name table_schema

	bool bytea int8 text timestamptz uuid
	bool_and clock_timestamp count current_schema has_table_privilege max min octet_length sum transaction_read_only tables
	statement_timeout idle_in_transaction_session_timeout`)

// names of ours: tables, columns, aliases.
var names = fields(`
	coffer_format one version vaults documents revisions tags feed chunks once
	revisions_superseded tags_name tags_exclusive vaults_usage once_until
	vault id present sequence number rev size bytes changes law superseded parents stream_pending stream_set stream_chunks
	stream_patch until body tag name exclusive kind author at series place sum blob
	a b c d e f g h k n p q r s t u v w x y z
	back base beyond due first found gone governed greatest had hit hits keeps last least more most_bytes most_documents
		patch
	pending step term terms test walk`)

func fields(s string) map[string]bool {
	all := make(map[string]bool)
	for _, w := range strings.Fields(s) {
		all[w] = true
	}
	return all
}

var (
	word      = regexp.MustCompile(`[A-Za-z_][A-Za-z_0-9]*`)
	quoted    = regexp.MustCompile(`'[^']*'`)
	comment   = regexp.MustCompile(`--[^\n]*`)
	forbidden = []struct {
		pattern *regexp.Regexp
		why     string
	}{
		{regexp.MustCompile(`(?i)\b(max|min)\s*\(\s*\w*\.?(vault|id|tag|name|rev|present)\b`),
			"not every server orders that type for aggregates"},
		{regexp.MustCompile(`(?i)\bUSING\s+(gin|gist|brin|hash|spgist)\b`), "a kind of index that not every server has"},
		{regexp.MustCompile(`~|@>|<@|\?\||->|#`), "an operator that not every server has"},
		{regexp.MustCompile(`\$\$`), "a block of code"},
		{regexp.MustCompile(`(?i)\bskip\b|\bnowait\b`), "a lock that not every server has"},
		{regexp.MustCompile(`(?i)\bLIMIT\b[^)]*\bFOR UPDATE\b`), "locks of a part, which depend on the plan"},
		{regexp.MustCompile(`(?i)\bCREATE\b.*\bIF NOT EXISTS\b`), "hides that something else is there"},
	}
)

// lint says what a statement should not have.
func lint(sql string) (complaints []string) {
	sql = comment.ReplaceAllString(sql, " ")
	bare := quoted.ReplaceAllString(sql, "''")
	if !lenient(sql) {
		for _, w := range word.FindAllString(regexp.MustCompile(`%(\[\d\])?[a-z]|\$%(\[\d\])?d`).ReplaceAllString(bare,
			" "), -1) {
			if l := strings.ToLower(w); !words[l] && !names[l] {
				complaints = append(complaints, strconv.Quote(w)+" is not on the list of what all servers know")
			}
		}
	}
	for _, f := range forbidden {
		if f.pattern.MatchString(bare) {
			complaints = append(complaints, f.why)
		}
	}
	return complaints
}

// begins recognizes a string as SQL.
var begins = regexp.MustCompile(`(?i)^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|BEGIN|COMMIT|ROLLBACK|SET|SHOW|CREATE|ALTER|` +
	`DROP|LISTEN|NOTIFY|LOCK|TRUNCATE|SAVEPOINT|DECLARE|FETCH|COPY|DO|CALL|EXPLAIN|ANALYZE|VACUUM|MERGE|PREPARE|EXECUTE)\b`)

// statements returns all SQL of the package by where it stands.
func statements(t *testing.T) map[string]string {
	all := make(map[string]string)
	entries, err := schema.ReadDir("schema")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := schema.ReadFile("schema/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for i, one := range strings.Split(string(b), ";") {
			all[e.Name()+", statement "+strconv.Itoa(i+1)] = one
		}
	}
	for i, sql := range forms() {
		all["form of query "+strconv.Itoa(i+1)] = sql
	}
	files := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil && begins.MatchString(s) {
					all[files.Position(l.Pos()).String()] = s
				}
			}
			return true
		})
	}
	return all
}
