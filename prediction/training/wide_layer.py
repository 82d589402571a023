"""Adam, and the last layer of a network while it is trained, one block of outputs after the other.

    y = W h + b        W: (n_outputs, hidden), thousands of outputs

A step reads W, both moments of Adam and the gradient of W, each some ten megabytes. Taken as a whole each of them comes
from memory again for every product. Here the weights of a block go through the product, the loss, both gradients and
Adam while they are in the cache, and one block of memory holds the gradient of all of them in turn. The numbers are
those of nn.Linear, autograd and torch.optim.Adam, but for the order in which the blocks are summed.
"""
import torch
from torch import nn
from torch.optim.adam import adam

BLOCK = 1024        # outputs; with 512 hidden units 2 MB of weights. On a GPU there is one block of all outputs
ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0, "amsgrad": False, "maximize": False}  # torch's


def squared_error(outputs, labels):
    """Sum over all labels, and its gradient in `outputs`, which is overwritten."""
    error = outputs.sub_(labels)
    return error.square().sum(), error.mul_(2)


def cross_entropy(logits, labels):
    """The same of the binary cross-entropy."""
    return nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum"), logits.sigmoid_() - labels


class Adam:
    """Steps of Adam on some parameters, in place: torch.optim.Adam, which would import the whole compiler of torch."""

    def __init__(self, parameters, learning_rate):
        self.parameters, self.learning_rate = list(parameters), learning_rate
        self.moments = [[torch.zeros_like(parameter) for parameter in self.parameters] for _ in range(2)]
        self.n_steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    @torch.no_grad()
    def step(self, gradients):
        adam(self.parameters, gradients, *self.moments, [], self.n_steps, fused=True, lr=self.learning_rate, **ADAM)


class WideLayer:
    """Trains an nn.Linear in place, on the mean of a loss over all rows and outputs.

    Parameters
    ----------
    linear : nn.Linear, whose weight and bias are changed and never replaced
    loss_of : squared_error or cross_entropy
    """

    def __init__(self, linear, loss_of, learning_rate):
        self.loss_of = loss_of
        weight, bias = linear.weight.detach(), linear.bias.detach()
        self.n_outputs = BLOCK if weight.device.type == "cpu" else len(weight)
        self.blocks = [Adam(block, learning_rate)
                       for block in zip(weight.split(self.n_outputs), bias.split(self.n_outputs))]
        self.gradient = torch.empty_like(weight[:self.n_outputs])

    @torch.no_grad()
    def step(self, hidden, labels):
        """One step of Adam; the loss before it, a tensor, and its gradient in `hidden` (n_rows, hidden)."""
        loss, of_hidden = 0, torch.zeros_like(hidden)
        for block, known in zip(self.blocks, labels.split(self.n_outputs, 1)):
            weight, bias = block.parameters
            of_block, of_outputs = self.loss_of(torch.addmm(bias, hidden, weight.T), known)
            loss += of_block / labels.numel()
            of_outputs /= labels.numel()
            of_hidden.addmm_(of_outputs, weight)
            of_weight = torch.mm(of_outputs.T, hidden, out=self.gradient[:len(weight)])
            block.step([of_weight, of_outputs.sum(0)])
        return loss, of_hidden

    @torch.no_grad()
    def loss_and_scores(self, hidden, labels, score_of):
        """Loss, a number, and what `score_of` outputs and labels gives for each output, tensor (n_outputs,)."""
        loss, scores = 0.0, []
        for block, known in zip(self.blocks, labels.split(self.n_outputs, 1)):
            weight, bias = block.parameters
            outputs = torch.addmm(bias, hidden, weight.T)
            scores.append(score_of(outputs, known))
            loss += self.loss_of(outputs, known)[0].item() / labels.numel()     # last, because it overwrites them
        return loss, torch.cat(scores)
