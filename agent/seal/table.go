package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// The form of native streams.
const (
	// EntrySize is the length of an encoded [Entry].
	EntrySize = 64
	// InlineEntries is up to how many data chunks a stream may have for its table to stand in the document.
	InlineEntries = 16
	// TableSpan is how many data chunks a table chunk describes, the last one excepted.
	TableSpan = 1024
	// MaxDataChunks bounds a native stream, and with it the table in its document: 16 TiB in chunks of 1 MiB, whose
	// document has a table of 1 MiB. Longer ones need larger chunks.
	MaxDataChunks = 1 << 24
)

const (
	nativeForm = 1
	maxTable   = MaxDataChunks / TableSpan // entries in a document
	// maxUsed is up to how many chunks sealed under its key a stream is patched. The count is only about right, for an
	// upload that was interrupted does not know of all that it sealed; twice as many are still safe with random ivs
	// (NIST SP 800-38D, section 8.3).
	maxUsed = 1 << 31
)

// An Entry pins one chunk of a native stream.
type Entry struct {
	Sum  [sha256.Size]byte  // SHA-256 of the chunk in its raw form: what [coffer.ChunkRef] says, too
	Tag  [jose.TagSize]byte // its authentication tag
	Mark [16]byte           // of its plaintext, for the owner ([Marker]); zeros when the writer has no key for marks
}

// AppendTable appends the encoded entries to dst and returns the extended slice: [EntrySize] bytes for each, the sum,
// the tag and the mark.
func AppendTable(dst []byte, entries []Entry) []byte {
	for i := range entries {
		e := &entries[i]
		dst = append(append(append(dst, e.Sum[:]...), e.Tag[:]...), e.Mark[:]...)
	}
	return dst
}

// DecodeTable reads what [AppendTable] wrote. Corrupt for a length that no table has.
func DecodeTable(b []byte) ([]Entry, error) {
	if len(b)%EntrySize != 0 || len(b) > maxTable*EntrySize {
		return nil, coffer.Errorf("table", coffer.Corrupt, "length is not that of a table")
	}
	entries := make([]Entry, len(b)/EntrySize)
	for i := range entries {
		e, b := &entries[i], b[i*EntrySize:]
		copy(e.Sum[:], b)
		copy(e.Tag[:], b[len(e.Sum):])
		copy(e.Mark[:], b[len(e.Sum)+len(e.Tag):])
	}
	return entries, nil
}

// decodeTableText reads a table as it stands in a document.
func decodeTableText(text string) ([]Entry, error) {
	if len(text) > base64.RawURLEncoding.EncodedLen(maxTable*EntrySize) {
		return nil, errors.New("table of the stream is too long")
	}
	raw, ok := jose.Decode64(text)
	if !ok {
		return nil, errors.New("table of the stream is not base64url")
	}
	return DecodeTable(raw)
}

// A Layout says where the chunks of a native stream stand. Data chunks are numbered without regard to the table; among
// the chunks that the vault has, a table chunk follows each [TableSpan] data chunks and the last one, unless the table
// is inline. So a data chunk stands in one place however long the stream is.
type Layout struct {
	Padded    uint64 // bytes of plaintext, the padding included
	ChunkSize int
	Data      uint64 // data chunks
	Tables    uint64 // table chunks; 0 when the table is inline
}

// NewLayout returns the layout of a native stream of this many bytes, in data chunks of this many. Invalid for a chunk
// size out of range, Exhausted for more data chunks than a stream may have.
func NewLayout(size uint64, chunkSize int) (Layout, error) {
	const op = "stream"
	if chunkSize < 1 || chunkSize > MaxChunkSize {
		return Layout{}, coffer.Errorf(op, coffer.Invalid, "chunk size out of range")
	}
	if size > MaxDataChunks*uint64(chunkSize) {
		return Layout{}, coffer.Errorf(op, coffer.Exhausted, "too long for its chunk size")
	}
	l := Layout{Padded: uint64(Padme(int64(size))), ChunkSize: chunkSize}
	if l.Data = chunksOf(l.Padded, chunkSize); l.Data > MaxDataChunks {
		return Layout{}, coffer.Errorf(op, coffer.Exhausted, "too long for its chunk size")
	}
	if l.Data > InlineEntries {
		l.Tables = (l.Data + TableSpan - 1) / TableSpan
	}
	return l, nil
}

// Layout returns the layout of a closed native stream, the zero Layout for others.
func (s *Stream) Layout() Layout {
	if !s.Native || s.Pending {
		return Layout{}
	}
	l, err := NewLayout(s.Size, s.ChunkSize)
	if err != nil {
		return Layout{}
	}
	return l
}

// Stored returns how many chunks the vault has.
func (l Layout) Stored() uint64 { return l.Data + l.Tables }

// DataIndex returns where the data chunk with this number stands among the chunks that the vault has.
func DataIndex(number uint64) uint64 { return number + number/TableSpan }

// TableIndex returns where the table chunk with this number stands.
func (l Layout) TableIndex(number uint64) uint64 {
	return min((number+1)*TableSpan, l.Data) + number
}

// DataLength returns how many bytes of plaintext a data chunk has, 0 beyond the end.
func (l Layout) DataLength(number uint64) int {
	size := uint64(l.ChunkSize)
	if number >= l.Data {
		return 0
	}
	return int(min(size, l.Padded-number*size))
}

// Span returns how many entries a part of the table has: a table chunk, or, as number 0, the inline table.
func (l Layout) Span(number uint64) int {
	if number*TableSpan >= l.Data {
		return 0
	}
	return int(min(TableSpan, l.Data-number*TableSpan))
}

// Last reports whether the chunk that stands there is the last one.
func (l Layout) Last(index uint64) bool { return index+1 == l.Stored() }

// NewNativeStream begins a native stream with a key of its own. Its chunks are to be put while the document has this
// sequence. A chunk size of 0 means [DefaultChunkSize]. Invalid for a chunk size or a sequence out of range.
func NewNativeStream(sequence uint64, chunkSize int) (*Stream, error) {
	s, err := NewStream(sequence, chunkSize)
	if err != nil {
		return nil, err
	}
	s.Native = true
	return s, nil
}

// Patched begins a patch of a closed native stream: its chunks are to be put while the document has the sequence set,
// and only those that differ. Invalid when the stream is not such a one, or the set cannot be a patch of it. Exhausted
// when so many chunks were sealed under the stream's key that a new stream must be begun.
func (s *Stream) Patched(set uint64) (*Stream, error) {
	const op = "stream"
	switch {
	case !s.Native || s.Pending || s.key == nil || set <= s.Sequence || set > coffer.MaxSequence:
		return nil, coffer.Errorf(op, coffer.Invalid, "cannot be patched so")
	case s.used > maxUsed:
		return nil, coffer.Errorf(op, coffer.Exhausted, "patched too often; begin a new stream")
	}
	return &Stream{
		Pending: true, Native: true, Sequence: s.Sequence, Patch: set, ChunkSize: s.ChunkSize, key: s.key, used: s.used,
	}, nil
}

// Finish returns a native stream as the closing revision of its document shall seal it: complete, with this many bytes
// of plaintext. The table has the entries of the data chunks, of at most [InlineEntries]; or else those of the table
// chunks. Sealed is how many chunks were sealed to write it. Invalid when the stream was not being written, or the
// table is another one than its length needs.
func (s *Stream) Finish(size uint64, table []Entry, sealed uint64) (*Stream, error) {
	const op = "stream"
	if !s.Pending || !s.Native || s.key == nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "not being written")
	}
	l, err := NewLayout(size, s.ChunkSize)
	if err != nil {
		return nil, err
	}
	c := *s
	c.Pending, c.Size, c.Chunks = false, size, l.Stored()
	c.table, c.used = append([]Entry(nil), table...), s.used+sealed
	if err := c.check(coffer.MaxSequence); err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	return &c, nil
}

// Settled returns the stream as later revisions of the document shall seal it when they do not change it: without the
// patch, whose chunks have taken their places by then.
func (s *Stream) Settled() *Stream {
	c := *s
	c.Patch = 0
	return &c
}

// Table returns the entries that stand in the document: those of the data chunks when the table is inline, else those
// of the table chunks. They are not to be changed.
func (s *Stream) Table() []Entry { return s.table }

// Digest returns a hash of all that the document says of the stream, by which it can be told from another one.
func (s *Stream) Digest() ([32]byte, error) {
	b, err := s.inside()
	return sha256.Sum256(b), err
}

// EncodePending returns what [DecodePending] needs to go on with a native stream that is being written. It holds the
// stream's key, so it must be kept sealed.
func (s *Stream) EncodePending() ([]byte, error) {
	if !s.Pending || !s.Native || s.key == nil {
		return nil, coffer.Errorf("stream", coffer.Invalid, "not being written")
	}
	return s.inside()
}

// DecodePending reads what [Stream.EncodePending] returned; else it is Corrupt.
func DecodePending(b []byte) (*Stream, error) {
	const op = "stream"
	s, err := parseStream(b)
	if err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	patch := s.Patch
	s.Patch = 0
	if err := s.check(coffer.MaxSequence); err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	if !s.Native || !s.Pending || patch > coffer.MaxSequence || patch != 0 && patch <= s.Sequence {
		return nil, coffer.Errorf(op, coffer.Corrupt, "not a native stream being written")
	}
	s.Patch = patch
	return s, nil
}

// checkNative is check for a native stream.
func (s *Stream) checkNative(sequence uint64) error {
	switch {
	case s.key == nil || s.key.Enc() != jose.A256GCM:
		return errors.New("stream has no key of A256GCM")
	case s.ChunkSize < 1 || s.ChunkSize > MaxChunkSize:
		return errors.New("chunk size out of range")
	case s.used > 4*maxUsed:
		return errors.New("stream has an impossible number of chunks")
	case s.Pending && (s.Chunks != 0 || s.Size != 0 || s.Patch != 0 || len(s.table) != 0):
		return errors.New("stream is pending and says what only a closed one can")
	case s.Pending:
		return nil
	case s.Patch != 0 && (s.Patch <= s.Sequence || s.Patch > sequence):
		return errors.New("stream is patched with a set that cannot be")
	}
	l, err := NewLayout(s.Size, s.ChunkSize)
	if err != nil {
		return errors.New("stream is too long")
	}
	want := l.Tables
	if want == 0 {
		want = l.Data
	}
	if s.Chunks != l.Stored() || uint64(len(s.table)) != want {
		return errors.New("stream has another number of chunks than its size needs")
	}
	return nil
}

// set returns which set the chunks of a stream that is being written belong to.
func (s *Stream) set() uint64 {
	if s.Patch != 0 {
		return s.Patch
	}
	return s.Sequence
}

// A Marker makes marks: of two versions of a chunk, they tell the owner alone whether they have the same plaintext. A
// mark is a GMAC (NIST SP 800-38D) of the plaintext whose nonce is the beginning of the chunk's sum. The sum is another
// each time a chunk is sealed, even if the plaintext is the same; so no nonce is used for two plaintexts, marks do not
// say that two chunks are alike, and nobody who learns marks and plaintexts can make a mark for another plaintext. A
// Marker may be used by several goroutines at once.
//
// The nil Marker makes marks of zeros, and finds nothing the same.
type Marker struct{ mac cipher.AEAD }

// markLabel begins what the key of a stream's marks is derived with.
const markLabel = "coffer stream mark 1\x00"

// NewMarker returns the Marker of the stream of the document with this id and the set sequence, nil for a key of zeros.
// The key is one that only the owner has; it may serve any number of streams.
func NewMarker(key [32]byte, id coffer.ObjectID, sequence uint64) *Marker {
	if subtle.ConstantTimeCompare(key[:], make([]byte, len(key))) == 1 {
		return nil
	}
	own := derive(key[:], markLabel+string(id[:])+string(binary.BigEndian.AppendUint64(nil, sequence)))
	block, err := aes.NewCipher(own[:])
	if err != nil {
		panic("seal: AES refuses a key of 32 bytes")
	}
	mac, err := cipher.NewGCM(block)
	if err != nil {
		panic("seal: AES has no GCM")
	}
	return &Marker{mac}
}

// Mark returns the mark of the plaintext of the chunk with this sum.
func (m *Marker) Mark(sum [sha256.Size]byte, plaintext []byte) (mark [16]byte) {
	if m != nil {
		m.mac.Seal(mark[:0], sum[:m.mac.NonceSize()], nil, plaintext)
	}
	return mark
}

// Same reports whether the entry is of a chunk with this plaintext, as far as its mark says. An entry whose mark was
// not made with the Marker's key is of no such chunk.
func (m *Marker) Same(e *Entry, plaintext []byte) bool {
	if m == nil {
		return false
	}
	mark := m.Mark(e.Sum, plaintext)
	return subtle.ConstantTimeCompare(mark[:], e.Mark[:]) == 1
}

// The constant parts of a native chunk's head. Its only recipient holds the stream's key already (RFC 7518, section
// 4.5), and is the same for everybody.
const (
	nativeRecipients = `[{"header":{"kid":"` + ObjectKeyID + `","alg":"dir"}}]`
	nativeAfterSet   = `,"jwe":{"protected":"`
	nativeBeforeIV   = `","recipients":` + nativeRecipients + `,"iv":"`
	nativeBeforeTag  = `","ciphertext":"","tag":"`
	nativeEnd        = `"}}`
	ivText           = 16 // characters of an iv of 12 bytes
	tagText          = 22 // characters of a tag of 16 bytes
)

// nativeHead is what a native chunk's head says besides its place.
type nativeHead struct {
	set uint64
	iv  [12]byte
	tag [jose.TagSize]byte
}

// parseNativeHead reads the head of the chunk at this place. There is just one form of it, so it is compared rather
// than parsed.
func parseNativeHead(head []byte, index, offset uint64, protected string) (h nativeHead, ok bool) {
	rest, ok := bytes.CutPrefix(head, appendHeadStart(make([]byte, 0, 96), index, offset))
	if !ok {
		return h, false
	}
	if h.set, rest, ok = cutNumber(rest); !ok {
		return h, false
	}
	for _, part := range []string{nativeAfterSet, protected, nativeBeforeIV} {
		if len(rest) < len(part) || string(rest[:len(part)]) != part {
			return h, false
		}
		rest = rest[len(part):]
	}
	if len(rest) != ivText+len(nativeBeforeTag)+tagText+len(nativeEnd) {
		return h, false
	}
	iv, rest := rest[:ivText], rest[ivText:]
	between, rest := rest[:len(nativeBeforeTag)], rest[len(nativeBeforeTag):]
	tag, end := rest[:tagText], rest[tagText:]
	ok = string(between) == nativeBeforeTag && string(end) == nativeEnd && decodeExact(h.iv[:], iv) &&
		decodeExact(h.tag[:], tag)
	return h, ok
}

// cutNumber reads a number as this package writes it, without zeros before it.
func cutNumber(b []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && i < 16 && '0' <= b[i] && b[i] <= '9'; i++ {
		n = n*10 + uint64(b[i]-'0')
	}
	return n, b[i:], i > 0 && n <= coffer.MaxSequence && (i == 1 || b[0] != '0')
}

// decodeExact fills dst from its unpadded base64url.
func decodeExact(dst, text []byte) bool {
	if len(text) != base64.RawURLEncoding.EncodedLen(len(dst)) {
		return false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(dst, text)
	return err == nil && n == len(dst) // line breaks are passed over
}
