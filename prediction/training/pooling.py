"""From the tiles of slides to one row of hidden units a slide: with every tile, or with slide means only.

A pooling is called with a network, row numbers of slides and, in training, the generator of the dropout.
"""
import numpy as np
import torch

from slide_ex import sharing

N_NOISE_TILES = 16  # tiles of a slide that estimate the size of its dropout noise; all of them where it has fewer
NEGLIGIBLE_NOISE = 0.035  # relative variance; at 0.034 R changed less than with another seed (tests/benchmarks)
N_TOGETHER = 4096   # tiles in one product of the direct model: small slides share it, of large ones nothing is copied
RESIDENT_SHARE = 0.5  # of the free memory may be taken by tile features; the rest is for batches and models


class TilePooling:
    """Faithful: every tile goes through the first layer and has its own dropout.

    Tile features stay on the device (on a CPU: in memory) as they are stored when they fit, otherwise the slides of
    a batch are read from features.h5 each time.
    """

    def __init__(self, slides, device, streamed=False):
        self.slides, self.device = slides, device
        self.means = torch.from_numpy(slides.mean_features).to(device)
        self.sums = self.means.new_empty(0)  # of dropped_linear, kept: fresh memory would take longer than the sums
        self.tiles = None
        shape, dtype = (slides.first_tile[-1] + slides.n_tiles[-1], self.means.shape[1]), slides.stored_dtype()
        if not streamed and np.prod(shape) * dtype.itemsize < RESIDENT_SHARE * free_bytes(device):
            self.tiles = torch.empty(shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, device=device)
            with slides.opened("features") as read:
                for row, (start, n_tiles) in enumerate(zip(slides.first_tile, slides.n_tiles)):
                    self.tiles[start:start + n_tiles] = torch.from_numpy(read(row))

    def __call__(self, network, rows, generator=None):
        """Hidden units of slides, mean over tiles, (n_rows, hidden); dropout only with a `generator`."""
        config = network.config
        if config.head == "regression" and generator is None:
            return network.first(self.means[rows])
        if config.head == "regression":
            return self.dropped_linear(network, rows, generator)
        means = []
        for bags in self.together(rows):
            hidden = network.first(bags[0] if len(bags) == 1 else torch.cat(bags)).relu()   # (n_tiles, hidden)
            if generator is not None:
                hidden = hidden * self.kept(len(hidden), config, generator)
            means += [of_slide.mean(0) for of_slide in hidden.split([len(bag) for bag in bags])]
        return torch.stack(means) if generator is None else torch.stack(means) / (1 - config.dropout)

    def dropped_linear(self, network, rows, generator):
        """Hidden units of a regression with dropout, mean over tiles, (n_rows, hidden).

        With k_tj = 1 where unit j of tile t is kept and 0 where it is dropped, hidden unit j of a slide is

            sum_t k_tj (w_j x_t + b_j) = w_j sum_t k_tj x_t + b_j sum_t k_tj,    divided by (1 - p) n.

        The sums do not depend on the weights, so one matrix product of mask and features a slide serves the forward
        and the backward pass, and no hidden unit of a single tile is ever made.
        """
        config, first = network.config, network.first
        sums = self.sums.resize_(len(rows), config.hidden, first.in_features)  # over the tiles that a unit keeps
        n_kept, n_tiles = self.means.new_empty(len(rows), config.hidden), self.means.new_empty(len(rows), 1)
        for i, tiles in enumerate(self.bags(rows)):
            kept = self.kept(len(tiles), config, generator).float()
            torch.mm(kept.T, tiles, out=sums[i])
            n_kept[i], n_tiles[i] = kept.sum(0), len(tiles)
        hidden = torch.einsum("sjf,jf->sj", sums, first.weight) + n_kept * first.bias
        return hidden / (n_tiles * (1 - config.dropout))

    def kept(self, n_tiles, config, generator):
        """Which hidden units of tiles the dropout keeps; bool (n_tiles, hidden)."""
        return torch.rand(n_tiles, config.hidden, generator=generator, device=self.device) >= config.dropout

    def together(self, rows):
        """Lists of bags of up to N_TOGETHER tiles, or of one slide that has more."""
        bags, n_tiles = [], 0
        for tiles in self.bags(rows):
            if bags and n_tiles + len(tiles) > N_TOGETHER:
                yield bags
                bags, n_tiles = [], 0
            bags.append(tiles)
            n_tiles += len(tiles)
        yield bags

    def bags(self, rows):
        """Tile features of one slide after the other; float32 (n_tiles, n_features) each."""
        if self.tiles is not None:
            for start, n_tiles in zip(self.slides.first_tile[rows.tolist()], self.slides.n_tiles[rows.tolist()]):
                yield self.tiles[start:start + n_tiles].float()
        else:
            with self.slides.opened("features") as read:
                for row in rows.tolist():
                    yield torch.from_numpy(read(row)).to(self.device).float()


def free_bytes(device):
    """Free memory of a GPU; for a CPU sharing.free_bytes."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else sharing.free_bytes()


class MeanPooling:
    """Regression on slide means, with noise of the mean and variance that the dropout of n tiles has.

    With m_tj = 0 (probability p) or 1 / (1 - p), a hidden unit's mean over tiles is z_j = 1/n sum_t m_tj h_tj, so

        E z_j = mean_t h_tj,    Var z_j = p / (1 - p) * 1/n^2 * sum_t h_tj^2,    Cov(z_i, z_j) = 0,

    normal by the central limit theorem. h_tj = w_j x_t + b_j needs no tile through the first layer: for standard
    normal e_t and random signs s_j, the variable s_j * sum_t e_t h_tj = s_j (w_j sum_t e_t x_t + b_j sum_t e_t) has
    exactly this mean, variance (up to its factor) and no correlation between units. So one more row a slide through
    the first layer, u = sum_t e_t x_t, replaces n, and gradients reach w_j as they do through dropout. The sum is
    estimated from N_NOISE_TILES tiles of each slide, drawn once.

    Relative to mean_t h_tj^2 the variance is p / ((1 - p) n): 2 % for 13 tiles, 0.01 % for 2,400. Where this is at
    most NEGLIGIBLE_NOISE on average over the slides, there is no noise at all, and no tile is read.
    """

    def __init__(self, slides, device):
        self.slides, self.device = slides, device
        self.means = torch.from_numpy(slides.mean_features).to(device)
        self.tiles = None  # of the noise, (n_slides, N_NOISE_TILES or fewer, n_features)

    def __call__(self, network, rows, generator=None):
        """Hidden units of slides, mean over tiles, (n_rows, hidden); noise only with a `generator`."""
        means = self.means[rows]
        p = network.config.dropout
        if generator is None or np.mean(p / (1 - p) / self.slides.n_tiles) <= NEGLIGIBLE_NOISE:
            return network.first(means)
        if self.tiles is None:
            self.draw_tiles()
        e = torch.randn(len(rows), N_NOISE_TILES, generator=generator, device=self.device)
        e *= self.scale[rows] * (p / (1 - p)) ** 0.5
        tiles = self.tiles.index_select(0, rows)
        u = torch.bmm(e[:, None, :tiles.shape[1]], tiles)[:, 0]                              # (n_rows, n_features)
        hidden, noise = (torch.cat([means, u]) @ network.first.weight.T).split(len(rows))    # one pass over the weights
        signs = (torch.rand(hidden.shape, generator=generator, device=self.device) - 0.5).sign()
        bias = network.first.bias
        return hidden + bias + signs * (noise + bias * e.sum(1, keepdim=True))

    def draw_tiles(self):
        """Tiles of each slide that stand for all its tiles in the noise, and the scale that makes up for the others."""
        random = np.random.default_rng(0)  # the same tiles in every fold, whatever else is trained
        n_slides, most = len(self.slides.n_tiles), min(N_NOISE_TILES, self.slides.n_tiles.max())
        tiles = np.zeros((n_slides, most, self.means.shape[1]), np.float32)
        scale = np.zeros((n_slides, N_NOISE_TILES), np.float32)  # zero where a slide has fewer tiles
        with self.slides.opened("features") as read:
            for row, n in enumerate(self.slides.n_tiles):
                drawn = np.sort(random.choice(n, min(n, N_NOISE_TILES), replace=False))
                tiles[row, :len(drawn)] = read(row, drawn)
                scale[row, :len(drawn)] = (n / len(drawn)) ** 0.5 / n
        self.tiles, self.scale = torch.from_numpy(tiles).to(self.device), torch.from_numpy(scale).to(self.device)


POOLINGS = {"tiles": TilePooling, "mean": MeanPooling}
