# UniLearn's joint fine-tuning (arXiv 2409.06154): the images of AffectNet-7 beside the clips of a
# recipe, which lists them after its clips in `datasets` of the loaders.
_base_ = ['unilearn_finetune.py']

# 224 x 224 aligned faces and the lists of the official repository
affectnet7 = dict(
    type='ExpressionImageDataset', task='affectnet7', data_root='data/AffectNetdataset',
    data_prefix=dict(media='Manually_Annotated_Images'))
affectnet7_train = dict(
    **affectnet7, ann_file='train_affectnet7_2w.txt', pipeline=_base_.image_train_pipeline)
affectnet7_test = dict(
    **affectnet7, ann_file='test_affectnet7_2w.txt', pipeline=_base_.image_test_pipeline,
    test_mode=True)

train_dataloader = dict(
    batch_sampler=dict(
        batch_sizes=dict(affectnet7=32),
        rates=dict(affectnet7=0.5),  # all batches of clips and half of the images' in each epoch
        balanced=['affectnet7']))  # its classes are drawn equally often
