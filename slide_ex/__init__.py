"""What the four folders of scripts share: how scripts start and write, ids, tables, the files of a project, stages."""
