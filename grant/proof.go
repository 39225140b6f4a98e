package grant

import (
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Suite says how the proof of a delegation is made. All are Ed25519 signatures.
type Suite string

// The suites. All are verified, also mixed in one chain; published servers know the first alone.
const (
	Ed25519Signature2020 Suite = "Ed25519Signature2020"
	EddsaRDFC2022        Suite = "eddsa-rdfc-2022" // DataIntegrityProof over canonical RDF
	EddsaJCS2022         Suite = "eddsa-jcs-2022"  // DataIntegrityProof over canonical JSON
)

// dataIntegrityProof is the type of proofs whose cryptosuite says the rest.
const dataIntegrityProof = "DataIntegrityProof"

// signed returns the 64 bytes that a delegation's proof signs: the SHA-256 of the canonical form of the proof without
// its value, and that of the capability without its proof.
func (d *delegation) signed() ([]byte, error) {
	hashes := d.hashRDF
	if d.suite == EddsaJCS2022 {
		hashes = d.hashJSON
	}
	b, err := hashes()
	if err != nil {
		return nil, coffer.E("capability", coffer.Invalid, err)
	}
	return b, nil
}

func (d *delegation) hashJSON() ([]byte, error) {
	var members map[string]json.RawMessage
	if err := jose.Decode(d.raw, &members); err != nil {
		return nil, err
	}
	return jose.IntegrityInput(members)
}

func (d *delegation) hashRDF() ([]byte, error) {
	proof, document, err := d.canonicalRDF()
	if err != nil {
		return nil, err
	}
	p, c := sha256.Sum256(proof), sha256.Sum256(document)
	return slices.Concat(p[:], c[:]), nil
}

// canonicalRDF returns the canonical N-Quads of the proof without its value and of the capability without its proof.
func (d *delegation) canonicalRDF() (proof, document []byte, err error) {
	var p, c dataset
	p.proof(d, 0, p.node(), false)
	c.capability(d, 0)
	if proof, err = p.canonical(); err != nil {
		return nil, nil, err
	}
	document, err = c.canonical()
	return proof, document, err
}

// The vocabulary of capabilities in RDF, as the contexts define it.
const (
	security = "<https://w3id.org/security#"

	rdfType  = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>"
	rdfFirst = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#first>"
	rdfRest  = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#rest>"
	rdfNil   = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#nil>"
	dcMade   = "<http://purl.org/dc/terms/created>"

	asTime      = "^^<http://www.w3.org/2001/XMLSchema#dateTime>"
	asMultibase = "^^" + security + "multibase>"
	asSuite     = "^^" + security + "cryptosuiteString>"
)

// capability adds the quads of a capability without its proof to a graph.
func (s *dataset) capability(d *delegation, graph int) {
	subject := iri(d.ID)
	add := func(predicate string, object term) { s.add(subject, security+predicate+">", object, graph) }
	for i, a := range d.AllowedAction.list {
		if !slices.Contains(d.AllowedAction.list[:i], a) { // a dataset is a set
			add("allowedAction", text(a, ""))
		}
	}
	for i, c := range d.Controller.list {
		if !slices.Contains(d.Controller.list[:i], c) {
			add("controller", iri(c))
		}
	}
	add("expiration", text(d.Expires, asTime))
	add("invocationTarget", iri(d.InvocationTarget))
	add("parentCapability", iri(d.ParentCapability))
	if d.ReferenceID != nil {
		add("referenceId", text(*d.ReferenceID, ""))
	}
}

// proof adds the quads of a capability's proof, a node of its own, to a graph; with its value if that is not what is
// being signed. The chain is a list. A parent in it stands in the same graph, with a proof that is a graph of its own.
func (s *dataset) proof(d *delegation, graph, node int, value bool) {
	p := &d.Proof
	subject := blank(node)
	add := func(predicate string, object term) { s.add(subject, predicate, object, graph) }
	add(dcMade, text(p.Created, asTime))
	add(rdfType, iri("https://w3id.org/security#"+p.Type))
	if p.Cryptosuite != "" {
		add(security+"cryptosuite>", text(p.Cryptosuite, asSuite))
	}
	add(security+"proofPurpose>", term{text: security + "capabilityDelegationMethod>"})
	add(security+"verificationMethod>", iri(p.VerificationMethod))
	if value {
		add(security+"proofValue>", text(p.ProofValue, asMultibase))
	}
	cell := s.node()
	add(security+"capabilityChain>", blank(cell))
	for i, id := range d.chain {
		s.add(blank(cell), rdfFirst, iri(id), graph)
		if i == len(d.chain)-1 {
			s.add(blank(cell), rdfRest, term{text: rdfNil}, graph)
			break
		}
		next := s.node()
		s.add(blank(cell), rdfRest, blank(next), graph)
		cell = next
	}
	if d.parent != nil {
		s.capability(d.parent, graph)
		inner := s.node()
		s.add(iri(d.parent.ID), security+"proof>", blank(inner), graph)
		s.proof(d.parent, inner, s.node(), true)
	}
}
