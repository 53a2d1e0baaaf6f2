# pragma version ~=0.4.3
# pragma nonreentrancy on
"""
@title The referee
@license Apache-2.0
@notice
    A mirror of `tallystick/spec/referee.py`: claims, the games about them, clocks and bonds. The rules of a game are in
    `game.vy`. Two other contracts, without state, read kernels and execute scalar steps.

    The referee knows a job only as four roots and two numbers. Nobody owns it, nothing in it can be changed, and it
    pays nothing but what is withdrawn. The burned part of a bond stays here for good: sending it away would only give
    the token a chance to stop a verdict.

    Every move is refused with a reason or made; a refused move changes nothing. Arguments that are not of their types
    (bytes longer than any move can have, numbers that do not fit) are refused before, without a reason.
"""

from ethereum.ercs import IERC20

import board
import game
import kernels
import merkle

initializes: game
exports: game.kernel_reader

WHOLE: constant(uint256) = 10_000  # hundredths of a percent
STEPS: constant(uint256) = 2**31
LONGEST: constant(uint256) = 2**40  # seconds
LARGEST_BOND: constant(uint256) = 2**128  # so that shares of it can be computed in 256 bits

ITEMS: constant(uint256) = 63 * kernels.ACCUMULATOR_BYTES
CHUNK: constant(uint256) = 1024
WITNESS: constant(uint256) = 8_192  # bytes: nearly all leaves do with less
LONGEST_WITNESS: constant(uint256) = 44_240  # bytes: the longest entry for each of sixteen loads

LEAF: constant(bytes1) = 0x00
WORDS: constant(bytes1) = 0x05

# what has become of a claim
OPEN: constant(uint256) = 1
CONVICTED: constant(uint256) = 2
RELEASED: constant(uint256) = 3


interface LeafExecutor:
    def execute_leaf(
        kernel: Bytes[kernels.ENCODED_KERNEL],
        first_value: uint256,
        place: Place,
        position: uint256,
        accumulators: Bytes[kernels.ACCUMULATOR_BYTES],
        witness: Bytes[WITNESS],
        trace: Trace,
    ) -> bytes32: view

    def execute_long_leaf(
        kernel: Bytes[kernels.ENCODED_KERNEL],
        first_value: uint256,
        place: Place,
        position: uint256,
        accumulators: Bytes[kernels.ACCUMULATOR_BYTES],
        witness: Bytes[LONGEST_WITNESS],
        trace: Trace,
    ) -> bytes32: view


struct Place:
    output: uint256
    element: uint256
    step: uint256


struct Trace:
    root: bytes32
    values: uint256


struct Terms:
    fanout: uint256
    move_s: uint256
    total_s: uint256
    window_s: uint256
    defender_bond: uint256
    challenger_bond: uint256
    winner_share: uint256


struct PostedClaim:
    claim: board.Claim
    defender: address
    closes: uint256
    status: uint256
    open_games: uint256


struct PostedGame:
    claim: uint256
    challenger: address
    game: board.Game
    turn_started: uint256
    defender_left: uint256
    challenger_left: uint256
    closed: bool


struct Standing:
    # Of a claim, all that changes, in one word: defender, closes, status, open games
    defender: address
    closes: uint256
    status: uint256
    open_games: uint256


event ClaimPosted:
    claim: indexed(uint256)
    defender: indexed(address)
    closes: uint256


event Challenged:
    game: indexed(uint256)
    claim: indexed(uint256)
    challenger: indexed(address)
    phase: uint256


event Revealed:
    game: indexed(uint256)
    phase: uint256  # in which it was revealed
    data: Bytes[ITEMS]


event Moved:
    game: indexed(uint256)
    phase: uint256  # the new one
    turn: uint256


event TimedOut:
    game: indexed(uint256)
    loser: uint256


event Decided:
    game: indexed(uint256)
    winner: uint256


event Convicted:
    claim: indexed(uint256)
    game: uint256


event Refunded:
    game: indexed(uint256)


event Released:
    claim: indexed(uint256)


event Owed:
    to: indexed(address)
    amount: uint256


event Burned:
    amount: uint256


event Withdrawn:
    to: indexed(address)
    amount: uint256


token: public(immutable(IERC20))
leaf_executor: public(immutable(LeafExecutor))
TERMS: immutable(Terms)

claim_count: public(uint256)
game_count: public(uint256)
owed: public(HashMap[address, uint256])
burned: public(uint256)
held: public(uint256)

claims: HashMap[uint256, board.Claim]
standings: HashMap[uint256, uint256]
parties: HashMap[uint256, uint256]  # challenger, and the number of the claim


@deploy
def __init__(bond_token: address, reader_of_kernels: address, executor_of_leaves: address, terms_: Terms):
    """
    @param bond_token An ERC-20 that neither keeps a part of what is transferred nor changes balances on its own
    @param reader_of_kernels A `KernelReader`
    @param executor_of_leaves A `LeafExecutor`
    @param terms_ Fixed for ever; times in seconds, bonds in the token's smallest unit
    """
    game.__init__(terms_.fanout, reader_of_kernels)
    assert 0 < terms_.move_s and terms_.move_s <= terms_.total_s, "one move takes no longer than all of them"
    assert terms_.window_s > 0, "a window is open for a while"
    assert terms_.winner_share <= WHOLE, "a share is at most the whole"
    assert terms_.total_s < LONGEST and terms_.window_s < LONGEST, "too long"
    assert terms_.defender_bond < LARGEST_BOND and terms_.challenger_bond < LARGEST_BOND, "too much"
    assert bond_token.is_contract, "no contract"
    assert reader_of_kernels.is_contract and executor_of_leaves.is_contract, "no contract"
    token = IERC20(bond_token)
    leaf_executor = LeafExecutor(executor_of_leaves)
    TERMS = terms_


# CLAIMS


@external
def post_claim(claim: board.Claim) -> uint256:
    """
    @notice Stand for a claim with a bond.
    @return Its number.
    """
    assert claim.steps > 0, "no steps"
    assert claim.first_step < STEPS and claim.steps <= STEPS - claim.first_step, "too many steps"
    number: uint256 = self.claim_count
    self.claim_count = number + 1
    closes: uint256 = block.timestamp + TERMS.window_s
    self.claims[number] = claim
    self._stand(number, Standing(defender=msg.sender, closes=closes, status=OPEN, open_games=0))
    self.held += TERMS.defender_bond
    log ClaimPosted(claim=number, defender=msg.sender, closes=closes)
    self._collect(TERMS.defender_bond)
    return number


@external
def challenge(number: uint256) -> uint256:
    """
    @notice Dispute a claim with a bond.
    @return The number of the game.
    """
    posted: Standing = self._open_claim(number)
    assert block.timestamp <= posted.closes, "window is over"
    posted.open_games += 1
    self._stand(number, posted)
    id: uint256 = self.game_count
    self.game_count = id + 1
    self.parties[id] = convert(msg.sender, uint256) | number << 160
    here: board.Board = empty(board.Board)
    here.turn_started = block.timestamp
    here.defender_left = TERMS.total_s
    here.challenger_left = TERMS.total_s
    here = game.open_game(id, here, self.claims[number])
    game.boards[id] = board.pack(here)
    self.held += TERMS.challenger_bond
    log Challenged(game=id, claim=number, challenger=msg.sender, phase=here.phase)
    self._collect(TERMS.challenger_bond)
    return id


# MOVES


@external
def reveal_interval(id: uint256, items: Bytes[ITEMS]):
    """
    @notice The items at the inner boundaries of the interval, one after the other.
    """
    here: board.Board = self._begin(id, 2**board.REVEAL_INTERVAL)
    here = game.reveal_interval(id, here, len(items), sha256(concat(LEAF, items)))
    log Revealed(game=id, phase=board.REVEAL_INTERVAL, data=items)
    self._finish(id, here)


@external
def point_interval(id: uint256, part: uint256, items: Bytes[ITEMS]):
    """
    @notice The first wrong part, counted from 1; the last one says that all items revealed are right. The items again.
    """
    here: board.Board = self._begin(id, 2**board.POINT_INTERVAL)
    game.check_part(id, here, part, sha256(concat(LEAF, items)))
    width: uint256 = game.width(here)
    before: bytes32 = empty(bytes32)
    at: bytes32 = empty(bytes32)
    if part > 1:
        before = self._item_digest(here, slice(items, (part - 2) * width, width))
    if part * width <= len(items):
        at = self._item_digest(here, slice(items, (part - 1) * width, width))
    self._finish(id, game.point_interval(id, here, part, before, at))


@external
def reveal_trace(
    id: uint256, header: Bytes[game.HEADER], trace_root: bytes32, children: DynArray[bytes32, merkle.CHILDREN]
):
    """
    @notice The header of the program, the trace root of the disputed step, and its first children (none of one value).
    """
    here: board.Board = self._begin(id, 2**board.REVEAL_TRACE)
    here = game.reveal_trace(id, here, self.claims[self.parties[id] >> 160].program_root, header, trace_root, children)
    log Revealed(game=id, phase=board.REVEAL_TRACE, data=concat(trace_root, self._joined(children)))
    self._finish(id, here)


@external
def point_gather(id: uint256):
    """
    @notice All values of the step are right, so the state after it was not made of them.
    """
    here: board.Board = self._begin(id, 2**board.POINT_TRACE)
    self._finish(id, game.point_gather(id, here))


@external
def reveal_children(id: uint256, children: DynArray[bytes32, merkle.CHILDREN]):
    """
    @notice The digests some levels below the node.
    """
    here: board.Board = self._begin(id, 2**board.REVEAL_CHILDREN)
    here = game.reveal_children(id, here, children)
    log Revealed(game=id, phase=board.REVEAL_CHILDREN, data=self._joined(children))
    self._finish(id, here)


@external
def point_child(id: uint256, child: uint256, digest: bytes32, siblings: DynArray[bytes32, merkle.DEEPEST]):
    """
    @notice A wrong child: its number, its digest, and the path from it to the node.
    """
    here: board.Board = self._begin(id, 2**board.POINT_TRACE | 2**board.POINT_CHILD)
    self._finish(id, game.point_child(id, here, child, digest, siblings))


@external
def prove_input(id: uint256, digest: bytes32, siblings: DynArray[bytes32, merkle.DEEPEST]):
    """
    @notice What the agreed state (or the constants) holds at the disputed value, with its path.
    """
    here: board.Board = self._begin(id, 2**board.PROVE_INPUT)
    self._finish(id, game.prove_input(id, here, self.claims[self.parties[id] >> 160].constants_root, digest, siblings))


@external
def prove_slot(
    id: uint256,
    header: Bytes[game.HEADER],
    type_bytes: Bytes[kernels.TYPE_BYTES],
    next_value: uint256,
    slot_siblings: DynArray[bytes32, merkle.DEEPEST],
    digest: bytes32,
    trace_siblings: DynArray[bytes32, merkle.DEEPEST],
):
    """
    @notice Which value the program puts into the disputed slot, and that value's digest in the agreed trace.
    """
    here: board.Board = self._begin(id, 2**board.PROVE_SLOT)
    program_root: bytes32 = self.claims[self.parties[id] >> 160].program_root
    here = game.prove_slot(
        id, here, program_root, header, type_bytes, next_value, slot_siblings, digest, trace_siblings
    )
    self._finish(id, here)


@external
def reveal_tensor(
    id: uint256,
    header: Bytes[game.HEADER],
    number: uint256,
    first_value: uint256,
    kernel: Bytes[kernels.ENCODED_KERNEL],
    kernel_siblings: DynArray[bytes32, merkle.DEEPEST],
    chunk_root: bytes32,
    children: DynArray[bytes32, merkle.CHILDREN],
):
    """
    @notice The kernel that makes the disputed value, with its path; the value's chunk root and its first children.
    """
    here: board.Board = self._begin(id, 2**board.REVEAL_TENSOR)
    program_root: bytes32 = self.claims[self.parties[id] >> 160].program_root
    here = game.reveal_tensor(
        id, here, program_root, header, number, first_value, kernel, kernel_siblings, chunk_root, children
    )
    log Revealed(game=id, phase=board.REVEAL_TENSOR, data=concat(chunk_root, self._joined(children)))
    self._finish(id, here)


@external
def reveal_chunk(id: uint256, chunk: Bytes[CHUNK]):
    """
    @notice The bytes of the disputed chunk.
    """
    here: board.Board = self._begin(id, 2**board.REVEAL_CHUNK)
    here = game.reveal_chunk(id, here, len(chunk), merkle.leaf(chunk))
    log Revealed(game=id, phase=board.REVEAL_CHUNK, data=chunk)
    self._finish(id, here)


@external
def point_element(id: uint256, number: uint256, chunk: Bytes[CHUNK]):
    """
    @notice A wrong element of the chunk, counted from its start. The chunk again.
    """
    here: board.Board = self._begin(id, 2**board.POINT_ELEMENT)
    self._finish(id, game.point_element(id, here, number, chunk))


@external
def execute(
    id: uint256,
    first_value: uint256,
    kernel: Bytes[kernels.ENCODED_KERNEL],
    accumulators: Bytes[kernels.ACCUMULATOR_BYTES],
    witness: Bytes[WITNESS],
):
    """
    @notice Everything one scalar step needs: kernel, the agreed accumulators before it, and the words it loads.
    @param accumulators Little-endian words, one after the other.
    """
    here: board.Board = self._begin(id, 2**board.EXECUTE)
    place: Place = empty(Place)
    trace: Trace = empty(Trace)
    place, trace = self._leaf(id, here, game.kernel_leaf(first_value, kernel), sha256(concat(WORDS, accumulators)))
    after: bytes32 = staticcall leaf_executor.execute_leaf(
        kernel, first_value, place, here.low, accumulators, witness, trace
    )
    self._finish(id, game.decide(here, after == game.digests[id].high))


@external
def execute_long(
    id: uint256,
    first_value: uint256,
    kernel: Bytes[kernels.ENCODED_KERNEL],
    accumulators: Bytes[kernels.ACCUMULATOR_BYTES],
    witness: Bytes[LONGEST_WITNESS],
):
    """
    @notice The same with a witness of any length. It is another function because memory is paid for by what an argument
            may be, not by what it is.
    """
    here: board.Board = self._begin(id, 2**board.EXECUTE)
    place: Place = empty(Place)
    trace: Trace = empty(Trace)
    place, trace = self._leaf(id, here, game.kernel_leaf(first_value, kernel), sha256(concat(WORDS, accumulators)))
    after: bytes32 = staticcall leaf_executor.execute_long_leaf(
        kernel, first_value, place, here.low, accumulators, witness, trace
    )
    self._finish(id, game.decide(here, after == game.digests[id].high))


@internal
@view
def _leaf(id: uint256, here: board.Board, kernel_leaf: bytes32, accumulators: bytes32) -> (Place, Trace):
    """
    @notice Where the scalar step is and what its words are proved against, if kernel and accumulators are the agreed.
    """
    assert kernel_leaf == game.digests[id].kernel_leaf, "wrong kernel"
    assert accumulators == game.digests[id].low, "wrong accumulators"
    first_step: uint256 = self.claims[self.parties[id] >> 160].first_step
    place: Place = Place(output=here.output, element=here.element, step=first_step + here.step)
    return place, Trace(root=game.digests[id].trace_root, values=here.values)


# ENDS


@external
def timeout(id: uint256):
    """
    @notice End a game whose side to move has not moved in time. Anyone may say so.
    """
    here: board.Board = self._open_game(id)
    number: uint256 = self.parties[id] >> 160
    posted: Standing = self._open_claim(number)
    assert block.timestamp > self._deadline(here), "not too late yet"
    loser: uint256 = board.turn(here.phase)
    log TimedOut(game=id, loser=loser)
    self._finish(id, game.decide(here, loser == board.CHALLENGER))


@external
def refund(id: uint256):
    """
    @notice Give a challenger's bond back whose claim was convicted in another game.
    """
    here: board.Board = self._open_game(id)
    number: uint256 = self.parties[id] >> 160
    posted: Standing = self._standing(number)
    assert posted.status == CONVICTED, "claim is not decided"
    here.closed = 1
    game.boards[id] = board.pack(here)
    posted.open_games -= 1
    self._stand(number, posted)
    log Refunded(game=id)
    self._pay(self._challenger(id), TERMS.challenger_bond)


@external
def release(number: uint256):
    """
    @notice Give a defender's bond back when nobody can challenge any more.
    """
    posted: Standing = self._open_claim(number)
    assert block.timestamp > posted.closes, "window is open"
    assert posted.open_games == 0, "still disputed"
    posted.status = RELEASED
    self._stand(number, posted)
    log Released(claim=number)
    self._pay(posted.defender, TERMS.defender_bond)


@external
def withdraw() -> uint256:
    """
    @notice Pay out what the caller is owed.
    @return How much that was.
    """
    amount: uint256 = self.owed[msg.sender]
    assert amount > 0, "nothing owed"
    self.owed[msg.sender] = 0
    log Withdrawn(to=msg.sender, amount=amount)
    assert extcall token.transfer(msg.sender, amount, default_return_value=True), "transfer failed"
    return amount


# VIEWS


@external
@view
def terms() -> Terms:
    """
    @notice Fixed for the life of this contract.
    """
    return TERMS


@external
@view
def posted_claim(number: uint256) -> PostedClaim:
    """
    @notice A claim, who stands for it, and until when it may be challenged.
    """
    posted: Standing = self._standing(number)
    return PostedClaim(
        claim=self.claims[number],
        defender=posted.defender,
        closes=posted.closes,
        status=posted.status,
        open_games=posted.open_games,
    )


@external
@view
def posted_game(id: uint256) -> PostedGame:
    """
    @notice A game, who challenges, and the clocks.
    """
    here: board.Board = self._board(id)
    return PostedGame(
        claim=self.parties[id] >> 160,
        challenger=self._challenger(id),
        game=board.seen(here, game.digests[id]),
        turn_started=here.turn_started,
        defender_left=here.defender_left,
        challenger_left=here.challenger_left,
        closed=here.closed == 1,
    )


@external
@view
def deadline(id: uint256) -> uint256:
    """
    @notice The last second in which the side that has to move may do so.
    """
    return self._deadline(self._open_game(id))


# GAMES


@internal
@view
def _begin(id: uint256, phases: uint256) -> board.Board:
    """
    @notice The board for a move by the caller, with the time it took taken off the clock.
    @param phases Those in which the move can be made, as bits of a set.
    """
    here: board.Board = self._open_game(id)
    party: uint256 = self.parties[id]
    posted: Standing = self._open_claim(party >> 160)
    turn: uint256 = board.turn(here.phase)
    mover: address = posted.defender if turn == board.DEFENDER else self._challenger(id)
    assert (board.PROOFS >> here.phase) & 1 != 0 or msg.sender == mover, "not your turn"
    assert block.timestamp <= self._deadline(here), "too late"
    assert (phases >> here.phase) & 1 != 0, "wrong phase"
    taken: uint256 = block.timestamp - here.turn_started
    if turn == board.DEFENDER:
        here.defender_left -= taken
    else:
        here.challenger_left -= taken
    here.turn_started = block.timestamp
    return here


@internal
def _finish(id: uint256, given: board.Board):
    """
    @notice Keep the board after a move, and move the bonds of a game that is decided.
    """
    here: board.Board = given
    log Moved(game=id, phase=here.phase, turn=board.turn(here.phase))
    if here.winner != board.NOBODY:
        here.closed = 1
        self._settle(id, here.winner)
    game.boards[id] = board.pack(here)


@internal
def _settle(id: uint256, winner: uint256):
    """
    @notice Move the bonds of a game that is decided.
    """
    number: uint256 = self.parties[id] >> 160
    posted: Standing = self._standing(number)
    log Decided(game=id, winner=winner)
    posted.open_games -= 1
    if winner == board.DEFENDER:
        self._stand(number, posted)
        self._divide(posted.defender, TERMS.challenger_bond)
        return
    posted.status = CONVICTED
    self._stand(number, posted)
    log Convicted(claim=number, game=id)
    challenger: address = self._challenger(id)
    self._pay(challenger, TERMS.challenger_bond)
    self._divide(challenger, TERMS.defender_bond)


@internal
@view
def _open_game(id: uint256) -> board.Board:
    here: board.Board = self._board(id)
    assert here.closed == 0, "game is over"
    return here


@internal
@view
def _board(id: uint256) -> board.Board:
    here: board.Board = board.unpack(game.boards[id])
    assert here.phase != 0, "no such game"
    return here


@internal
@view
def _deadline(here: board.Board) -> uint256:
    left: uint256 = here.challenger_left
    if board.turn(here.phase) == board.DEFENDER:
        left = here.defender_left
    return here.turn_started + min(TERMS.move_s, left)


@internal
@view
def _challenger(id: uint256) -> address:
    return convert(self.parties[id] & (2**160 - 1), address)


@internal
@view
def _item_digest(here: board.Board, item: Bytes[ITEMS]) -> bytes32:
    """
    @notice The digest of an item of the interval: a state root is its own, accumulators are hashed.
    """
    if here.level == board.STEPS:
        return extract32(item, 0)
    return sha256(concat(WORDS, item))


@internal
@pure
def _joined(children: DynArray[bytes32, merkle.CHILDREN]) -> Bytes[64 + 32 * merkle.CHILDREN]:
    """
    @notice Digests one after the other: their encoding, without offset and length before them.
    """
    return slice(abi_encode(children), 64, 32 * len(children))


# CLAIMS


@internal
@view
def _open_claim(number: uint256) -> Standing:
    posted: Standing = self._standing(number)
    assert posted.status == OPEN, "claim is decided"
    return posted


@internal
@view
def _standing(number: uint256) -> Standing:
    packed: uint256 = self.standings[number]
    assert packed != 0, "no such claim"
    return Standing(
        defender=convert(packed & (2**160 - 1), address),
        closes=(packed >> 160) & (2**48 - 1),
        status=(packed >> 208) & 255,
        open_games=packed >> 216,
    )


@internal
def _stand(number: uint256, posted: Standing):
    self.standings[number] = (
        convert(posted.defender, uint256) | posted.closes << 160 | posted.status << 208 | posted.open_games << 216
    )


# BONDS


@internal
def _collect(amount: uint256):
    """
    @notice Take the caller's bond. A token that keeps a part of it is refused.
    """
    before: uint256 = staticcall token.balanceOf(self)
    assert extcall token.transferFrom(msg.sender, self, amount, default_return_value=True), "transfer failed"
    assert staticcall token.balanceOf(self) == before + amount, "transfer failed"


@internal
def _divide(winner: address, bond: uint256):
    """
    @notice The loser's bond: a share to the winner, the rest to nobody.
    """
    share: uint256 = bond * TERMS.winner_share // WHOLE
    self._pay(winner, share)
    self.held -= bond - share
    self.burned += bond - share
    log Burned(amount=bond - share)


@internal
def _pay(to: address, amount: uint256):
    """
    @notice Owe somebody what was held.
    """
    self.held -= amount
    self.owed[to] += amount
    log Owed(to=to, amount=amount)
